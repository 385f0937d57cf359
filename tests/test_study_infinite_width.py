"""What the study of finite width predicts, measures and claims."""

import numpy as np
import pytest

import infflow as inf
from infflow.studies.infinite_width.claims import QUICK, THEORY, exponent, run
from infflow.studies.infinite_width.runs import predicted, problem, run_network, tangent_kernel


def test_prediction_is_the_flow_of_a_linear_model():
    """Against the flow of a network that is linear in its parameters, whose kernel is constant."""
    where = problem(5, 3, 0)
    net = inf.Net([(1, "identity", False)], input=where.X, target=where.y)
    theta = np.array([0.3, -0.2, 0.5])
    t = 0.7
    flow = {"solver": "dopri5", "rtol": 1e-11, "atol": 1e-11, "max_steps_newton": 0}
    end = inf.train(net, theta, t_end=t, progress=False, **flow).theta_flow
    kernel = where.inputs @ where.inputs.T + 1e-13 * np.eye(10)  # of rank three
    everywhere = net.with_data(where.inputs, np.zeros(10))
    np.testing.assert_allclose(tangent_kernel(everywhere, theta), kernel, atol=1e-12)
    # by the matrix exponential of outputs, without an inverse
    n = len(where.y)
    values, vectors = np.linalg.eigh(kernel[:n, :n])
    start = where.inputs @ theta
    kept = values > 1e-8
    residual = vectors.T @ (where.y - start[:n])
    passed = np.where(kept, -np.expm1(-2 * t * values / n) / values, 2 * t / n)
    wanted = start + kernel[:, :n] @ (vectors @ (passed * residual))
    np.testing.assert_allclose(where.inputs @ end, wanted, atol=1e-9)
    regular = kernel + 0.1 * np.eye(10)
    before = predicted(regular, start, where.y, 1e-9)
    np.testing.assert_allclose(
        (before - start) / 1e-9, 2 / n * regular[:, :n] @ (where.y - start[:n]), rtol=1e-6
    )
    np.testing.assert_allclose(predicted(regular, start, where.y, 1e9)[:n], where.y, atol=1e-12)


def test_exponents_of_known_powers():
    rng = np.random.default_rng(0)
    widths = np.array([10.0, 30.0, 90.0, 270.0])
    values = rng.standard_normal((4, 200)) * widths[:, None] ** -0.75
    found = exponent(widths, values, rng)
    assert found.low < -0.75 < found.high and found.high - found.low < 0.12
    assert found.agrees(-0.75) and not found.agrees(-1.0)
    exact = exponent(widths, widths[:, None] ** -1.0 * np.ones((4, 3)), rng)
    assert exact == pytest.approx((-1.0, -1.0, -1.0), abs=1e-12)


def test_one_network():
    row = run_network("erf", 1, 64, 0, 10, 2, 3.0, 0)
    assert row["kernel"].shape == (20, 20) and row["own_gap"] < row["gap"] < 1.0
    assert row["movement"] < row["fluctuation"] < 1.0
    again = run_network("erf", 1, 64, 0, 10, 2, 3.0, 0)
    assert all(np.array_equal(row[name], again[name]) for name in row)


def test_claims_of_a_quick_run():
    result = run(QUICK, progress=False)
    assert result.cases == [("erf", 1), ("gelu", 1), ("tanh", 2)]
    held = [claim.held for claim in result.claims()]
    # with eight networks a width, only these are clear
    assert held[0] and held[1] and held[3] and held[4]
    for found in result.exponents.values():
        assert set(found) == set(THEORY)
        assert all(each.low <= each.value <= each.high < 0.0 for each in found.values())
