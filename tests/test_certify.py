"""Proofs in ball arithmetic: enclosures contain what they must, certificates fail
where they must.
"""

import itertools
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest

import infflow as inf

flint = pytest.importorskip("flint")

from infflow.activations import REGISTRY  # noqa: E402
from infflow.networks.infinite.targets.function_teacher import FunctionTeacher  # noqa: E402
from infflow.proofs.activations import exact_activation  # noqa: E402
from infflow.proofs.ball import Jet, lower, magnitude, upper, working_precision  # noqa: E402
from infflow.proofs.network import BallNetwork  # noqa: E402
from infflow.proofs.pairs import pair_derivatives  # noqa: E402

COVERED = (
    "identity",
    "square",
    "cube",
    "relu",
    "leaky_relu",
    "abs",
    "erf",
    "normal_cdf",
    "gelu",
    "gaussian",
)


def shallow(width, dim, activation, outputs=1):
    return inf.Net([(width, activation, False), (outputs, "identity", False)], input_dim=dim)


def orthonormal(activation, K, M=None, D=None):
    M, D = M or K, D or K
    net = shallow(M, D, activation)
    teacher = inf.Teacher(net, net.pack([(np.eye(M, D), None), (np.ones((1, M)), None)]))
    return inf.NetI(shallow(K, D, activation), teacher)


def balls(theta, radius=0.0):
    return [flint.arb(float(x), radius) for x in theta]


def as_floats(matrix):
    return np.array([[float(x) for x in row] for row in matrix.tolist()])


def spurious(k, seed):
    """A spurious minimum of Safran and Shamir: trained first layer, output weights one
    and frozen.
    """
    neti = orthonormal("relu", k)
    theta = inf.random_params(neti, seed, init="standard_normal")
    theta[: k * k] /= np.sqrt(k)
    theta[k * k :] = 1.0
    frozen = np.arange(neti.num_params) >= k * k
    return neti, inf.train(neti, theta, eta=(~frozen).astype(float), progress=False).theta, frozen


# ------------------------------------------------------------------------------------------------
# evaluation


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize(
    "activation", [*COVERED, ["relu", "erf", "cube"], ["gelu", "abs", "gaussian"]], ids=str
)
def test_agrees_with_the_fast_evaluation(activation, outputs):
    rng = np.random.default_rng(5)
    A = rng.standard_normal((3, 3))
    for source in (None, inf.Gaussian(np.zeros(3), A @ A.T)):
        net = shallow(3, 3, activation, outputs)
        neti = inf.NetI(
            net, inf.Teacher(net, rng.standard_normal(net.num_params), noise=0.1), input=source
        )
        theta = rng.standard_normal(net.num_params)
        value, gradient, hessian = neti.evaluate(theta, 2)
        with working_precision(128):
            found = BallNetwork(neti).evaluate(balls(theta))
            assert max(magnitude(x - x.mid()) for x in found.gradient) < 1e-30  # nothing is lost
        assert value == pytest.approx(float(found.value), rel=1e-13)
        scale = np.abs(hessian).max()
        np.testing.assert_allclose(
            gradient, [float(x) for x in found.gradient], rtol=1e-13, atol=1e-14 * scale
        )
        np.testing.assert_allclose(
            hessian, as_floats(found.hessian), rtol=1e-13, atol=1e-14 * scale
        )


def arcsine_loss(W, a, V):
    """Loss of erf students with output weights a and erf teachers with output weights one, in
    mpmath.
    """

    def moment(u, v):
        uv, uu, vv = (
            mp.fsum(x * y for x, y in zip(*pair, strict=True)) for pair in ((u, v), (u, u), (v, v))
        )
        return 2 / mp.pi * mp.asin(uv / mp.sqrt((1 + uu) * (1 + vv)))

    neurons = [(mp.mpf(float(c)), w) for c, w in zip(a, W, strict=True)] + [
        (mp.mpf(-1), v) for v in V
    ]
    return mp.fsum(c * d * moment(u, v) for (c, u), (d, v) in itertools.product(neurons, repeat=2))


def arccosine_loss(W, V):
    """The same for relu with output weights one, from angles (Cho and Saul, 2009)."""

    def moment(u, v):
        nu, nv = (mp.sqrt(mp.fsum(x * x for x in w)) for w in (u, v))
        t = mp.acos(min(mp.fsum(x * y for x, y in zip(u, v, strict=True)) / (nu * nv), mp.mpf(1)))
        return nu * nv * (mp.sin(t) + (mp.pi - t) * mp.cos(t)) / (2 * mp.pi)

    neurons = [(1, w) for w in W] + [(-1, v) for v in V]
    return mp.fsum(c * d * moment(u, v) for (c, u), (d, v) in itertools.product(neurons, repeat=2))


def exact_rows(matrix):
    return [[mp.mpf(float(x)) for x in row] for row in matrix]


def contains(ball, value):
    """Whether a ball of 128 bits contains a number of mpmath."""
    return (
        mp.mpf(str(ball.lower().str(45, radius=False))) - mp.mpf(10) ** -36
        <= value
        <= mp.mpf(str(ball.upper().str(45, radius=False))) + mp.mpf(10) ** -36
    )


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_value_contains_the_reference(activation):
    rng = np.random.default_rng(1)
    neti = orthonormal(activation, 3, 2, 3)
    W = rng.standard_normal((3, 3))
    theta = neti.pack([(W, None), (np.ones((1, 3)), None)])
    with mp.workdps(50), working_precision(128):
        V = exact_rows(np.eye(2, 3))
        exact = (
            arcsine_loss(exact_rows(W), np.ones(3), V)
            if activation == "erf"
            else arccosine_loss(exact_rows(W), V)
        )
        value = BallNetwork(neti).value(balls(theta))
        assert magnitude(value - value.mid()) < 1e-35 and contains(value, exact)
        wide = BallNetwork(neti).value(balls(theta, 1e-3))
        assert contains(wide, exact) and magnitude(wide - wide.mid()) < 0.1


@pytest.mark.parametrize(
    "v", [[1.0, 0.0, 0.0], [-2.0, 0.0, 0.0], [0.3, 0.5, -0.1]], ids=["parallel", "opposite", "free"]
)
@pytest.mark.parametrize("activation", ["relu", "abs", "gelu", "erf"])
def test_boxes_contain_their_points(activation, v):
    """Derivatives over a box of weights contain those at random points of the box, parallel ramps
    included.
    """
    rng = np.random.default_rng(0)
    u = np.array([1.0, 0.0, 0.0])
    radius = 1e-3
    with working_precision(128):
        f = exact_activation(REGISTRY[activation])
        box = pair_derivatives(f, f, column(u, radius), column(np.array(v), radius))
        assert all(magnitude(x) < 10 for part in box[1:] for x in part.entries())
        for _ in range(20):
            shift = rng.uniform(-radius, radius, (2, 3))
            point = pair_derivatives(f, f, column(u + shift[0]), column(v + shift[1]))
            assert box.value.contains(point.value)
            assert all(
                x.contains(y)
                for a, b in zip(box[1:], point[1:], strict=True)
                for x, y in zip(a.entries(), b.entries(), strict=True)
            )


def column(w, radius=0.0):
    return flint.arb_mat(len(w), 1, [flint.arb(float(x), radius) for x in w])


def test_jets_differentiate():
    # x y^2/sqrt(z) + atan(x z) at (2, 3, 4), derivatives by hand
    with working_precision(64):
        x, y, z = Jet.variables([flint.arb(2), flint.arb(3), flint.arb(4)])
        found = x * y.power(2) * z.half_power(-1) + (x * z).arctan()
    q = 1 / 65  # 1/(1 + (xz)^2)
    expected = [9 + np.arctan(8), 4.5 + 4 * q, 6.0, -18 / 16 + 2 * q]
    np.testing.assert_allclose(
        [float(found.value), *(float(d) for d in found.first)], expected, rtol=1e-15
    )
    second = {
        (0, 0): -2 * 8 * 16 * q * q,
        (0, 1): 3.0,
        (0, 2): -9 / 16 + q - 2 * 64 * q * q,
        (1, 1): 2.0,
        (1, 2): -12 / 16,
        (2, 2): 18 * 0.75 / 32 - 2 * 8 * 4 * q * q,
    }
    for (i, j), value in second.items():
        assert float(found.derivative(i, j)) == pytest.approx(value, rel=1e-14)
        assert found.derivative(j, i) is found.derivative(i, j)


# ------------------------------------------------------------------------------------------------
# which functions


def atom_at(order, width, x):
    """Smoothed ramps and their derivatives, of width 0 or 1."""
    if width == 0:
        return max(x, mp.mpf(0)) if order == 0 else mp.mpf(x > 0)
    return (x * mp.ncdf(x) + mp.npdf(x), mp.ncdf(x), mp.npdf(x))[order]


@pytest.mark.parametrize("name", COVERED)
def test_weights_are_those_of_the_named_function(name):
    """To all digits: float64 weights of the fast evaluation are rounded."""
    with working_precision(200), mp.workdps(60):
        f = exact_activation(REGISTRY[name])
        for point in ("-5/7", "3/11", "2"):
            x = mp.mpf(Fraction(point).numerator) / Fraction(point).denominator
            exact = mp.mpmathify(REGISTRY[name].expression.xreplace(substitution(point)).evalf(55))
            found = mp.fsum(number(c) * x**n for n, c in enumerate(f.polynomial))
            found += mp.fsum(
                number(atom.weight) * atom_at(atom.order, atom.width, x) for atom in f.atoms
            )
            assert abs(found - exact) < mp.mpf(10) ** -50


def substitution(point):
    import sympy

    return {sympy.Symbol("x", real=True): sympy.Rational(point)}


def number(ball):
    return mp.mpf(ball.mid().str(58, radius=False))


@pytest.mark.parametrize("name", [name for name in REGISTRY if name not in COVERED])
def test_approximated_functions_are_refused(name):
    neti = inf.NetI(shallow(1, 1, name), inf.Teacher(shallow(1, 1, name), [0.5, 1.0]))
    with pytest.raises(inf.InfflowError, match=f"certify.* {name}"):
        inf.certify(neti, [0.5, 1.0])


def test_polynomials_of_ones_own_have_float64_coefficients():
    f = inf.polynomial([0.0, 0.1, 0.0, 0.3])
    neti = inf.NetI(shallow(1, 1, f), inf.Teacher(shallow(1, 1, f), [0.0, 1.0]))
    a, b = Fraction(0.1), Fraction(0.3)
    with working_precision(400):
        value = BallNetwork(neti).value(balls([1.0, 1.0]))
        exact = a * a + 6 * a * b + 15 * b * b  # E (a h + b h^3)^2
        assert (
            value.contains(flint.arb(exact.numerator) / exact.denominator)
            and magnitude(value - value.mid()) < 1e-100
        )
    proof = inf.certify(inf.NetI(neti.student, inf.Teacher(neti.student, [0.7, 1.0])), [0.7, 1.0])
    assert proof and "0.1 x^1 + 0.3 x^3, these float64 numbers" in str(proof)


def test_loss_of_gaussian_to_all_digits():
    """E exp(-h^2/2 - k^2/2) = det(1 + C)^(-1/2)."""
    V = (0.5, 2.0)
    teacher = inf.Teacher(shallow(2, 1, "gaussian"), [*V, 1.0, 1.0])
    neti = inf.NetI(shallow(1, 1, "gaussian"), teacher)
    proof = inf.certify(neti, inf.train(neti, [1.0, 1.0], progress=False).theta)
    with mp.workdps(40):

        def k(u, v):
            return 1 / mp.sqrt(1 + u * u + v * v)

        def share(w):  # the best output weight
            return mp.fsum(k(w, v) for v in V) / k(w, w)

        w = mp.findroot(
            lambda w: mp.diff(lambda u: share(u) ** 2 * k(u, u), w), mp.mpf(proof.theta[0])
        )
        loss = mp.fsum(k(mp.mpf(u), v) for u in V for v in V) - share(w) ** 2 * k(w, w)
        check_digits(proof, loss, [w, share(w)])


def test_loss_of_leaky_relu_to_all_digits():
    """The slope is 1/100: a student of two teachers in the plane, a function of its angle."""
    angles = (0.3, 1.7)
    V = np.column_stack([np.cos(angles), np.sin(angles)])
    teacher = inf.Teacher(shallow(2, 2, "leaky_relu"), [*V.ravel(), 1.0, 1.0])
    neti = inf.NetI(shallow(1, 2, "leaky_relu"), teacher)
    proof = inf.certify(neti, inf.train(neti, [0.5, 1.0, 1.0], progress=False).theta)
    with mp.workdps(40):
        slope = mp.mpf(1) / 100
        exact = exact_rows(V)

        def k(u, v):  # f = slope x + (1 - slope) relu; E x relu = C/2
            C = mp.fdot(u, v)
            nu = mp.norm(u)
            nv = mp.norm(v)
            t = mp.acos(min(C / (nu * nv), 1))
            ramps = nu * nv * (mp.sin(t) + (mp.pi - t) * mp.cos(t)) / (2 * mp.pi)
            return slope * slope * C + slope * (1 - slope) * C + (1 - slope) ** 2 * ramps

        def share(angle):  # the best length of the student times its output weight
            e = [mp.cos(angle), mp.sin(angle)]
            return mp.fsum(k(e, v) for v in exact) / k(e, e)

        own = (1 + slope * slope) / 2
        angle = mp.findroot(lambda t: mp.diff(share, t), mp.atan2(*proof.theta[1::-1]))
        loss = mp.fsum(k(u, v) for u in exact for v in exact) - share(angle) ** 2 * own
        a = mp.mpf(proof.theta[2])  # held by the gauge
        check_digits(
            proof, loss, [share(angle) / a * mp.cos(angle), share(angle) / a * mp.sin(angle), a]
        )


def check_digits(proof, loss, theta):
    """A certificate that is tight contains the exact numbers."""
    digits = proof.loss_digits.strip("[]").split(" +/- ")
    assert proof and abs(mp.mpf(digits[0]) - loss) <= mp.mpf(digits[1]) < 1e-26
    assert (
        max(abs(mp.mpf(x) - y) for x, y in zip(proof.theta, theta, strict=True))
        <= proof.radius
        < 1e-14
    )


# ------------------------------------------------------------------------------------------------
# certificates


@pytest.mark.parametrize("activation", ["erf", "relu", "leaky_relu", "gelu", "normal_cdf"])
def test_teacher_is_certified(activation):
    neti = orthonormal(activation, 3)
    proof = inf.certify(neti, neti.teacher.theta)
    assert proof and proof.is_minimum and proof.index == 0 and not proof.reason
    homogeneous = activation in ("relu", "leaky_relu")
    assert proof.gauge == ((9, 10, 11) if homogeneous else ()) and proof.positive == (
        9 if homogeneous else 12
    )
    assert proof.loss.lower == 0.0 and proof.loss.upper < 1e-30  # the exact loss is zero
    assert proof.radius < 1e-30 < 1e-7 < proof.uniqueness_radius


@pytest.mark.parametrize("M", [2, 3, 5])
def test_one_erf_student_of_many_teachers(M):
    """The optimum is known: output weight M, norm 1/sqrt(2M - 1), loss M/3 - (2/pi) M^2
    asin(1/(2M)).
    """
    neti = orthonormal("erf", 1, M, M)
    exact = np.append(np.full(M, 1 / np.sqrt(M * (2 * M - 1))), M)
    proof = inf.certify(neti, inf.train(neti, exact * 1.1, progress=False).theta)
    assert proof.is_minimum and proof.positive == M + 1
    assert np.abs(proof.theta - exact).max() <= proof.radius + 1e-15
    with mp.workdps(40):
        loss = mp.mpf(M) / 3 - 2 / mp.pi * M**2 * mp.asin(mp.mpf(1) / (2 * M))
        assert mp.mpf(proof.loss.lower) <= loss <= mp.mpf(proof.loss.upper)
        digits = proof.loss_digits.strip("[]").split(" +/- ")
        assert abs(mp.mpf(digits[0]) - loss) <= mp.mpf(digits[1])
    assert proof.loss.upper - proof.loss.lower < 1e-15
    # the same point from 1e-8 away: larger radius, same loss
    rough = inf.certify(neti, proof.theta + 1e-8)
    assert rough.is_minimum and 1e-8 <= rough.radius < 1e-7
    assert rough.loss.lower <= proof.loss.lower and proof.loss.upper <= rough.loss.upper


def test_saddle_has_its_index():
    """The optimal erf student of two teachers, split into two (Fukumizu and Amari, 2000); one
    frozen output weight fixes the shares.
    """
    teacher = inf.Teacher(shallow(2, 2, "erf"), [1.0, 0.0, 0.0, 2.0, 1.0, 0.7])
    single, neti = (inf.NetI(shallow(K, 2, "erf"), teacher) for K in (1, 2))
    *w, a = inf.train(single, [0.5, 0.5, 1.0], progress=False).theta
    theta = neti.pack([(np.array([w, w]), None), (np.array([[0.3 * a, 0.7 * a]]), None)])
    frozen = np.arange(6) == 4
    found = inf.classify(neti, theta, frozen=frozen)
    proof = inf.certify(neti, theta, frozen=frozen)
    assert (
        proof
        and not proof.is_minimum
        and proof.index == found.index > 0
        and proof.positive == 5 - found.index
    )
    assert (
        f"saddle of index {found.index}" in str(proof)
        and proof.frozen == (4,)
        and proof.gauge == ()
    )
    assert (
        "singular" in inf.certify(neti, theta).reason
    )  # the split is flat unless something is frozen


@pytest.mark.parametrize(("k", "seed"), [(6, 142), (7, 5)])
def test_spurious_minimum(k, seed):
    neti, theta, frozen = spurious(k, seed)
    assert inf.classify(neti, theta, frozen=frozen).kind.name == "MINIMUM"
    proof = inf.certify(neti, theta, frozen=frozen)
    assert proof.is_minimum and proof.positive == k * k and proof.loss.lower > 0.04
    assert proof.radius < 1e-13 and proof.uniqueness_radius > 1e-6
    with mp.workdps(50):  # the loss at theta itself differs by |gradient|^2, about 1e-30
        exact = arccosine_loss(exact_rows(theta[: k * k].reshape(k, k)), exact_rows(np.eye(k)))
        assert mp.mpf(proof.loss.lower) <= exact <= mp.mpf(proof.loss.upper)
        digits = proof.loss_digits.strip("[]").split(" +/- ")
        assert abs(mp.mpf(digits[0]) - exact) <= mp.mpf(digits[1]) + mp.mpf(10) ** -27


def test_fails_where_it_must():
    neti = orthonormal("erf", 2)
    theta = neti.teacher.theta.copy()
    far = inf.certify(neti, theta + 0.1 * np.random.default_rng(0).standard_normal(6))
    assert (
        not far and "Krawczyk" in far.reason and np.isnan(far.radius) and "not proved" in str(far)
    )
    # a point on the slope: the gradient is not zero, though the Hessian is regular
    slope = inf.certify(neti, theta + np.array([0, 0, 0, 0, 1e-1, 0]))
    assert (
        not slope or slope.radius >= 0.1
    )  # it may prove the minimum nearby, but then says how far

    # flat directions: scaling without a gauge, duplicated neurons, a dead one
    relu = orthonormal("relu", 2)
    flat = inf.certify(relu, relu.teacher.theta, gauge=None)
    assert not flat and "singular" in flat.reason and "inf.classify" in flat.reason
    wide = orthonormal("erf", 3, 2, 3)
    for a in ([0.5, 1.0, 0.5], [1.0, 1.0, 0.0]):
        twice = wide.pack(
            [(np.array([[1.0, 0, 0], [0, 1.0, 0], [1.0, 0, 0]]), None), (np.array([a]), None)]
        )
        assert "singular" in inf.certify(wide, twice).reason
    # a neuron with a kink at zero
    dead = relu.teacher.theta.copy()
    dead[:2] = 0.0
    assert "not finite" in inf.certify(relu, dead).reason


def test_gauge_loses_nothing():
    """Scaled students are certified as well, and the direction of a frozen weight fixes the scaling
    itself.
    """
    neti = orthonormal("relu", 2)
    theta = neti.pack([(np.diag([2.0, 0.25]), None), (np.array([[0.5, 4.0]]), None)])
    proof = inf.certify(neti, theta)
    assert proof.is_minimum and proof.gauge == (4, 5) and "dimension 2" in str(proof)
    frozen = np.zeros(6, dtype=bool)
    frozen[0] = True  # w_00 = 2 fixes neuron 0
    proof = inf.certify(neti, theta, frozen=frozen)
    assert proof.is_minimum and proof.gauge == (5,) and proof.frozen == (0,) and proof.positive == 4


def test_several_outputs_and_square():
    net = shallow(2, 3, "erf", 2)
    teacher = inf.Teacher(net, np.random.default_rng(3).standard_normal(net.num_params))
    assert inf.certify(inf.NetI(net, teacher), teacher.theta).is_minimum
    one = shallow(1, 2, "square")
    teacher = inf.Teacher(one, [1.0, 0.5, 2.0])
    proof = inf.certify(inf.NetI(one, teacher), teacher.theta)
    assert proof.is_minimum and proof.gauge == (2,)


def test_enclosures_round_outwards():
    with working_precision(128):
        third = flint.arb(1) / 3
        assert lower(third) < 1 / 3 < upper(third) and upper(third) - lower(third) < 2e-16
        assert magnitude(flint.arb("nan")) == np.inf and magnitude(-third) > 1 / 3


def test_what_is_not_covered():
    neti = orthonormal("erf", 2)
    theta = neti.teacher.theta

    def variant(activation="erf", bias=False, parametrization="standard", **options):
        net = inf.Net(
            [(2, activation, bias), (1, "identity", False)],
            input_dim=2,
            parametrization=parametrization,
        )
        return inf.NetI(net, inf.Teacher(net, np.ones(net.num_params)), **options)

    for other, message in (
        (variant("step"), "does not cover step"),
        (variant(bias=True), r"without biases.*inf\.classify"),
        (
            inf.NetI(shallow(1, 2, "erf"), FunctionTeacher(lambda z: z[:, 0], np.eye(1, 2))),
            "teachers that are networks",
        ),
        (variant(parametrization="ntk"), "standard and spherical"),
        (variant(ridge=0.1), "without barrier"),
        (variant(input=inf.Gaussian([1.0, 0.0], np.eye(2))), "centred"),
    ):
        with pytest.raises(inf.InfflowError, match=message):
            inf.certify(other, np.ones(other.num_params))
    with pytest.raises(inf.InfflowError, match=r"inf\.NetI"):
        inf.certify(neti.sample(10, 0), theta)
    with pytest.raises(inf.InfflowError, match="'auto' or None"):
        inf.certify(neti, theta, gauge="scale")
    with pytest.raises(inf.InfflowError, match="at least 64"):
        inf.certify(neti, theta, precision=20)
    plain = inf.certify(neti, theta).to_dict()
    assert plain["proved"] is True and isinstance(plain["loss"], tuple)


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "flint", None)
    neti = orthonormal("erf", 2)
    with pytest.raises(ImportError, match=r"pip install 'infflow\[proof\]'") as error:
        inf.certify(neti, neti.teacher.theta)
    assert isinstance(error.value, inf.InfflowError)


def test_script():
    script = Path(__file__).parents[1] / "scripts" / "certify_spurious_minima.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), "--k", "8"],
        capture_output=True,
        text=True,
        check=True,
    )
    cells = [cell.strip() for cell in done.stdout.splitlines()[-1].split("|")[1:-1]]
    assert cells[0] == "8" and float(cells[3]) == pytest.approx(float(cells[2]) / 2, abs=1e-15)
    assert (
        f"| {cells[2]} | {cells[3]} |"
        in (script.parents[1] / "docs" / "certificates.md").read_text()
    )  # as documented
    assert "7 copy, 1 opposed" in done.stdout
