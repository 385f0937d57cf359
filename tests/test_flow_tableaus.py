"""The coefficients prove what they claim, no more, and a wrong digit has a named error."""

from dataclasses import replace

import numpy as np
import pytest

from infflow.errors import TableauError
from infflow.flow import coefficients, tableaus
from infflow.flow.norm_kernels import weighted_rms, weighted_rms_reference
from infflow.flow.order_conditions import check_order, density, num_vertices, rooted_trees

EXPLICIT = [coefficients.RK4, coefficients.RK4_DOUBLED, coefficients.TSIT5, coefficients.DOPRI5]
ESDIRK = [coefficients.TRBDF2, coefficients.KENCARP58]
ROSENBROCK = [coefficients.RODAS5P, coefficients.RODAS3]
ALL = EXPLICIT + ESDIRK + ROSENBROCK


def test_rooted_trees():
    # the number of rooted trees (OEIS A000081), and sum over trees of 1/(density * symmetry) is not
    # needed: distinct
    counts = [len(set(rooted_trees(n))) for n in range(1, 9)]
    assert counts == [1, 1, 2, 4, 9, 20, 48, 115]
    assert all(num_vertices(tree) == 6 for tree in rooted_trees(6))
    tall = ((((),),),)
    bushy = ((), (), ())
    assert density(tall) == 24 and density(bushy) == 4


def in_classical_form(tableau):
    if not isinstance(tableau, tableaus.RosenbrockTableau):
        return tableau.a[-1], tableau.a, tableau.a
    gammas = np.linalg.inv(np.eye(len(tableau.a)) / tableau.gamma - tableau.c)
    alpha = tableau.a @ gammas
    return tableau.m @ gammas, alpha, alpha + gammas


@pytest.mark.parametrize("tableau", ALL, ids=lambda t: t.name)
def test_order_is_exactly_what_is_claimed(tableau):
    weights, alpha, beta = in_classical_form(tableau)
    check_order(tableau.name, weights, alpha, beta, tableau.order, tolerance=1e-11)
    with pytest.raises(TableauError, match=f"condition of order {tableau.order + 1}"):
        check_order(tableau.name, weights, alpha, beta, tableau.order + 1, tolerance=1e-6)


@pytest.mark.parametrize("tableau", ALL, ids=lambda t: t.name)
def test_a_wrong_digit_is_found(tableau):
    for name in ("a", "e", "dense", *(("c", "m") if tableau in ROSENBROCK else ())):
        values = getattr(tableau, name)
        if values is None:
            continue
        changed = values.copy()
        # not the last entries of a Rosenbrock method: its last u_i is O(h^5), and any multiple of
        # it an error estimate
        index = (0,) if name == "e" else tuple(np.argwhere(changed)[0])
        changed[index] += 1e-7
        with pytest.raises(TableauError):
            replace(tableau, **{name: changed})


def test_shapes_are_checked():
    full = np.ones((3, 3))
    with pytest.raises(TableauError, match="strictly lower triangular"):
        replace(coefficients.TSIT5, a=full)
    with pytest.raises(TableauError, match="strictly lower triangular"):
        replace(coefficients.RODAS5P, c=np.ones((8, 8)))
    with pytest.raises(TableauError, match="one row for each"):
        replace(coefficients.TSIT5, dense=coefficients.TSIT5.dense[:-1])


def test_rodas5p_is_l_stable_and_stiffly_accurate():
    weights, _, beta = in_classical_form(coefficients.RODAS5P)
    ones = np.ones(8)
    eye = np.eye(8)

    def stability(z):
        return 1 + z * weights @ np.linalg.solve(eye - z * beta, ones)

    assert np.abs([stability(1j * y) for y in np.geomspace(1e-3, 1e6, 400)]).max() <= 1 + 1e-10
    assert abs(stability(-1e9)) < 1e-5  # rounding of coefficients times 1e9 is left over
    np.testing.assert_allclose(weights, beta[-1], atol=1e-12)


def test_weighted_rms_agrees_with_its_twin():
    rng = np.random.default_rng(0)
    error, z0, z1, atol = rng.normal(size=(4, 50))
    expected = weighted_rms_reference(error, z0, z1, abs(atol), 1e-3)
    np.testing.assert_allclose(weighted_rms(error, z0, z1, abs(atol), 1e-3), expected, rtol=1e-12)
