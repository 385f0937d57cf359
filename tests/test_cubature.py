"""Cubature of Gaussian moments against closed forms, nquad, quadrature by parts and mpmath;
expectations of functions.
"""

import warnings

import mpmath
import numpy as np
import pytest
from gaussian_reference import pair_moment

import infflow as inf
from infflow.activations import Activation, resolve
from infflow.errors import AccuracyWarning, InvalidTypeError, InvalidValueError, ShapeError
from infflow.integrals.closed import pairs as closed
from infflow.integrals.cubature import pairs as cubature
from infflow.integrals.cubature import panels
from infflow.integrals.cubature.distributions import single_moments
from infflow.integrals.cubature.expectation import gaussian_expectation

CLOSED = ["relu", "abs", "step", "erf", "gelu", "cube"]


def closed_moments(f, g, args):
    table = closed.AtomTable([f, g])
    arrays = [np.array([float(a)]) for a in args]
    index = np.zeros(1, dtype=np.int64)
    return np.array(
        [
            closed.pair_moments(table, index, index + 1, np.array(arrays), p, q)[0]
            for p, q in cubature.ORDERS
        ]
    )


def arguments(r1, r2, u, b1, b2, s=None):
    """Covariance, means and determinant from correlation u, or from s = sqrt(1 - u^2)."""
    one_minus = (1 - u) * (1 + u) if s is None else s * s
    return r1 * r1, r1 * r2 * u, r2 * r2, b1, b2, (r1 * r2) ** 2 * one_minus


def assert_agrees(f, g, args, rtol, tolerance):
    found = cubature.pair_moments(f, g, args, 2, rtol)
    expected = closed_moments(f, g, args)
    np.testing.assert_array_equal(np.isinf(found.value), np.isinf(expected))
    finite = np.isfinite(expected)
    error = np.abs(found.value[finite] - expected[finite])
    size = np.maximum(np.abs(expected[finite]).max(), 1e-300)
    assert (error <= found.error[finite] + 4e-15 * size).all(), "an error estimate below the error"
    assert error.max() <= tolerance * max(size, found.scale.max())


@pytest.mark.parametrize("i,f", list(enumerate(CLOSED)))
def test_all_moments_against_closed_forms(i, f):
    for k, g in enumerate(CLOSED[i:]):
        rng = np.random.default_rng(10 * i + k)
        A = rng.standard_normal((2, 3))
        b = rng.standard_normal(2)
        C = A @ A.T
        args = C[0, 0], C[0, 1], C[1, 1], *b, float(np.linalg.det(C))
        assert_agrees(resolve(f), resolve(g), args, 1e-12, 1e-13)


@pytest.mark.parametrize(
    "f,g", [("relu", "relu"), ("relu", "step"), ("erf", "abs"), ("step", "step")]
)
@pytest.mark.parametrize("s", [1e-3, 1e-7, 1e-12])
def test_nearly_parallel(f, g, s):
    # offset by s, so that the moments that grow like powers of 1/s are not negligible; the rounding
    # of the offset is amplified by 1/s, hence the tolerance
    args = arguments(1.0, 2.0, np.sqrt((1 - s) * (1 + s)), 0.0, 0.5 * s, s)
    assert_agrees(resolve(f), resolve(g), args, 1e-10, 1e-12)


@pytest.mark.parametrize(
    "f,g", [("relu", "relu"), ("relu", "step"), ("erf", "abs"), ("gelu", "cube"), ("step", "erf")]
)
def test_degenerate(f, g):
    cases = [
        (1, 2, 1, 0.0, 0.0),
        (1, 2, -1, 0.3, 0.1),
        (1, 2, 1, 0.3, 0.6),
        (0, 1, 0, 0.3, 0.1),
        (0, 1, 0, 0, 0.1),
    ]
    for case in cases:
        assert_agrees(resolve(f), resolve(g), arguments(*map(float, case)), 1e-11, 1e-13)


@pytest.mark.parametrize("f,g", [("relu", "erf"), ("gelu", "abs"), ("gaussian", "step")])
def test_wide_distributions(f, g):
    for r1, r2, u, b1, b2 in [
        (100, 30, 0.99, 10, -3),
        (1e3, 1.0, 0.5, 1, 2),
        (1e-3, 20, -0.999, 0, 0.1),
    ]:
        # rtol refers to the root mean square of f^(p), which is far above some means of a narrow f
        assert_agrees(resolve(f), resolve(g), arguments(r1, r2, u, b1, b2), 1e-10, 1e-8)


@pytest.mark.parametrize(
    "f,g,p,q", [("relu", "erf", 2, 1), ("step", "gaussian", 1, 2), ("abs", "relu", 2, 2)]
)
def test_against_nquad_and_quadrature_by_parts(f, g, p, q):
    C = np.array([[1.0, 0.4], [0.4, 0.7]])
    b = np.array([0.3, -0.2])
    reference = pair_moment(f, g, C, b, (p, q))
    gaussian = (C[0, 0], C[0, 1], C[1, 1], *b, float(np.linalg.det(C)))
    slow, error = cubature.nquad_moment(resolve(f), resolve(g), gaussian, (p, q), rtol=1e-7)
    assert abs(slow - reference) < 1e-8 and error < 1e-5
    found = cubature.pair_moments(resolve(f), resolve(g), gaussian, 2)
    assert found.value[cubature.ORDERS.index((p, q))] == pytest.approx(
        reference, rel=1e-12, abs=1e-14
    )


def test_tanh_against_the_trapezoidal_rule():
    # analytic in a strip of half width about 1: a step of 1/40 leaves an error of exp(-2 pi 40)
    C11, C12, _, b1, b2, det = args = arguments(1.5, 0.8, 0.6, 0.2, -0.4)
    x = np.arange(-360, 361) / 40
    h1 = b1 + np.sqrt(C11) * x[:, None]
    h2 = b2 + C12 / np.sqrt(C11) * x[:, None] + np.sqrt(det / C11) * x
    weight = np.exp(-(x[:, None] ** 2 + x**2) / 2) / (2 * np.pi * 40**2)
    found = cubature.pair_moments(resolve("tanh"), resolve("tanh"), args, 1, 1e-12)
    for k, (p, q) in enumerate(cubature.ORDERS[:6]):
        values = resolve("tanh").derivative(h1, p) * resolve("tanh").derivative(h2, q)
        assert found.value[k] == pytest.approx((values * weight).sum(), abs=1e-14)


def test_tanh_of_one_variable_against_mpmath():
    with mpmath.workdps(25):

        def integrand(x):
            h = mpmath.mpf(1) / 2 + 3 * x
            return mpmath.sech(h) ** 2 * mpmath.npdf(x)

        reference = float(mpmath.quad(integrand, mpmath.linspace(-11, 11, 23)))
    found = single_moments(resolve("tanh"), np.array([9.0]), np.array([0.5]), 1, 1e-13)
    assert found.value[0, 1] == pytest.approx(reference, abs=1e-15)


@pytest.mark.parametrize("f,g", [("tanh", "softplus"), ("elu", "sigmoid"), ("selu", "relu")])
def test_moments_are_derivatives_with_respect_to_the_means(f, g):
    args = np.array(arguments(1.2, 0.9, -0.5, 0.2, 0.3))
    f = resolve(f)
    g = resolve(g)
    h = 1e-4
    centre = cubature.pair_moments(f, g, args, 2, 1e-12).value
    for place in (0, 1):
        up = args.copy()
        down = args.copy()
        up[3 + place] += h
        down[3 + place] -= h
        difference = (
            cubature.pair_moments(f, g, up, 2, 1e-12).value
            - cubature.pair_moments(f, g, down, 2, 1e-12).value
        )
        for k, (p, q) in enumerate(cubature.ORDERS):
            if p + q < 4:
                other = cubature.ORDERS.index((p + 1 - place, q + place))
                assert difference[k] / (2 * h) == pytest.approx(
                    centre[other], abs=2e-7
                )  # h^2, rounding / h


def test_derivatives_that_are_missing_are_moved_onto_the_density():
    args = arguments(1.3, 0.8, 0.4, 0.1, 0.2)
    only_value = Activation.from_callable("only_value", np.tanh)
    some = Activation.from_callable(
        "shifted", lambda x: np.abs(x - 0.3), [lambda x: np.sign(x - 0.3)], kinks=[0.3]
    )
    relu = resolve("relu")
    tanh = resolve("tanh")
    full = cubature.pair_moments(tanh, relu, args, 2, 1e-12).value
    np.testing.assert_allclose(
        cubature.pair_moments(only_value, relu, args, 2, 1e-12).value, full, atol=1e-12
    )
    shifted = (*args[:4], args[4] - 0.3, args[5])
    expected = cubature.pair_moments(tanh, resolve("abs"), shifted, 2, 1e-12).value
    np.testing.assert_allclose(
        cubature.pair_moments(tanh, some, args, 2, 1e-12).value, expected, atol=1e-12
    )
    with pytest.raises(InvalidValueError, match="derivatives"):
        cubature.pair_moments(only_value, only_value, (1.0, 1.0, 1.0, 0.0, 0.0, 0.0), 1)


@pytest.mark.parametrize("name", ["relu", "step", "erf", "gelu"])
def test_single_moments(name):
    f = resolve(name)
    C = np.array([1.0, 4.0, 1e-6, 0.0, 900.0])
    b = np.array([0.2, -1.0, 0.5, 0.3, 3.0])
    expected = closed.single_moments(closed.AtomTable([f]), np.zeros(5, dtype=np.int64), C, b, 4)
    found = single_moments(f, C, b, 4, 1e-12)
    np.testing.assert_allclose(found.value, expected, rtol=1e-12, atol=1e-14)
    assert (np.abs(found.value - expected) <= found.error + 1e-15 * np.abs(expected).max()).all()


def test_functions_that_grow_too_fast_or_fail():
    fast = Activation.from_callable("fast", lambda x: np.exp(x * x))
    slow = Activation.from_callable("slow", lambda x: np.exp(x * x / 8))
    relu = resolve("relu")
    with pytest.raises(InvalidValueError, match=r"'fast' grows too fast .* standard deviation 1:"):
        cubature.pair_moments(fast, relu, arguments(1, 1, 0.3, 0, 0), 0)
    with pytest.raises(InvalidValueError, match="'exp' grows too fast"):
        cubature.pair_moments(relu, resolve("exp"), arguments(1, 50, 0.3, 0, 0), 0)
    # E exp(x^2/8) = 1/sqrt(1 - 1/4)
    found = cubature.pair_moments(slow, inf.polynomial([1.0]), arguments(1, 1, 0.3, 0, 0), 0)
    assert found.value[0] == pytest.approx((4 / 3) ** 0.5, abs=1e-12)
    # the mass of the product is at x = 3, far from the centre
    found = cubature.pair_moments(resolve("exp"), resolve("exp"), arguments(1, 2, 1.0, 0, 0), 0)
    assert found.value[0] == pytest.approx(np.exp(4.5), rel=1e-12)

    def not_everywhere(x):
        return np.where(x > 41, np.nan, x)

    partial = Activation.from_callable("partial", not_everywhere)  # not looked at beyond 40
    with pytest.raises(InvalidValueError, match=r"'partial' returned NaN at x = 4"):
        cubature.pair_moments(partial, relu, arguments(9, 1, 0, 0, 0), 0)


def test_gauss_kronrod_rules_are_exact_for_their_degree():
    for rule, degree in ((panels.KRONROD, 31), (panels.GAUSS, 19), (panels.ENDS, 15)):
        for k in range(degree + 1):
            assert rule @ panels.NODES**k == pytest.approx((1 + (-1) ** k) / (k + 1), abs=3e-15)
        assert (
            abs(rule @ panels.NODES ** (degree + 1 + degree % 2) - 2 / (degree + 2 + degree % 2))
            > 1e-13
        )


def test_panels_find_jumps_and_count_what_they_miss():
    start = panels.panels_between(np.array([[-10.0, 10.0], [-10.0, 10.0]]))

    def jump(x, row):
        return (np.where(x > 0.3, 1.0, 0.0) * panels.density(x) * (1.0 + row))[:, None]

    exact = np.array([1.0, 2.0]) * float(mpmath.ncdf(-0.3))
    found = panels.integrate(jump, start, 2, np.array([1e-13]))
    np.testing.assert_allclose(found.value[:, 0], exact, atol=2e-14)
    rough = panels.integrate(jump, start, 2, np.array([1e-13]), max_work=100)
    assert (
        np.abs(rough.value[:, 0] - exact) <= rough.error[:, 0]
    ).all() and rough.error.max() > 1e-4


def pdf(x):
    return float(mpmath.npdf(x))


def cdf(x):
    return float(mpmath.ncdf(x))


EXPECTATIONS = {
    "square": (lambda x: x[:, 0] ** 2, [1.0], [[4.0]], 5.0),
    "isserlis": (lambda x: x[:, 0] ** 2 * x[:, 1] ** 2, [0, 0], [[1, 0.5], [0.5, 1]], 1.5),
    "singular": (lambda x: x[:, 0] * x[:, 1], [0, 1], [[1, 2], [2, 4]], 2.0),
    "exp": (lambda x: np.exp(x.sum(axis=1)), [0, 0, 0], np.eye(3), np.exp(1.5)),
    "cos": (
        lambda x: np.cos(x[:, 0] + x[:, 1]),
        [1.0, 0.0],
        [[1, -0.5], [-0.5, 1]],
        np.cos(1) * np.exp(-0.5),
    ),
    "abs": (
        lambda x: np.abs(x[:, 0] - 0.3),
        [0, 0],
        np.eye(2),
        2 * pdf(0.3) + 0.3 * (2 * cdf(0.3) - 1),
    ),
    "jump": (lambda x: x[:, 0] > 0.3, [0.0], [[1.0]], cdf(-0.3)),
    "jumps": (lambda x: np.sign(x[:, 0] * x[:, 1]), [0, 0], np.eye(2), 0.0),
    "constant": (lambda x: x[:, 0], [3.0, 1.0], np.zeros((2, 2)), 3.0),
}


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_expectations(name):
    function, mean, cov, exact = EXPECTATIONS[name]
    value, error = gaussian_expectation(function, mean, cov)
    assert abs(value - exact) <= error + 1e-15
    assert abs(value - exact) < 1e-8 * max(1.0, abs(exact))


@pytest.mark.parametrize(
    "function,cov,exact",
    [
        (lambda x: np.sign(x[:, 0] * x[:, 1]), [[1, 0.5], [0.5, 1]], 1 / 3),
        (lambda x: np.abs(x[:, 0] - x[:, 1]), np.eye(2), 2 / np.sqrt(np.pi)),
        (lambda x: (x**2).sum(axis=1) < 1, np.eye(2), 1 - np.exp(-0.5)),
    ],
)
@pytest.mark.filterwarnings("ignore::infflow.errors.AccuracyWarning")
def test_expectation_of_oblique_jumps(function, cov, exact):
    value, error = gaussian_expectation(function, [0, 0], cov, rtol=1e-7)
    assert abs(value - exact) <= error
    assert (
        abs(value - exact) < 2e-5
    )  # narrow regions between jumps are seen only by luck, and the estimate says so


def test_expectation_of_several_functions():
    result = gaussian_expectation(
        lambda x: np.column_stack([x[:, 0], x[:, 0] ** 4]), 0.0, 2.0, full_output=True
    )
    np.testing.assert_allclose(result.value, [0.0, 12.0], atol=1e-10)
    assert result.converged and result.rank == 1 and result.work > 0 and result.error.shape == (2,)


@pytest.mark.parametrize("size", [1e300, 1e-300])  # the squares overflow, and underflow
def test_expectation_of_large_and_small_functions(size):
    value, error = gaussian_expectation(lambda x: x[:, 0] * size, [0.0], [[1.0]])
    assert abs(value) <= error <= 1e-8 * size
    for function, exact in ((lambda x: x[:, 0] ** 2, 2.0), (lambda x: x[:, 0] * x[:, 1], 0.5)):
        result = gaussian_expectation(
            lambda x, f=function: size * f(x), [0, 0], [[2, 0.5], [0.5, 1]], full_output=True
        )
        assert abs(result.value / size - exact) <= result.error / size <= 3e-8 and result.converged
    both = gaussian_expectation(
        lambda x: np.column_stack([size * x[:, 0] ** 2, x[:, 0] ** 2, 0 * x[:, 0]]), 0.0, 1.0
    )
    np.testing.assert_allclose(both.value, [size, 1.0, 0.0], rtol=1e-10)


def test_expectation_warns_when_it_cannot():
    with pytest.warns(AccuracyWarning, match="does not meet rtol=1e-12"):
        value, error = gaussian_expectation(
            lambda x: np.sin(1e5 * x[:, 0]) > 0, 0.0, 1.0, rtol=1e-12
        )
    assert abs(value - 0.5) <= error


@pytest.mark.parametrize(
    "function,mean,cov,error,message",
    [
        (3, [0.0], [[1.0]], InvalidTypeError, "callable"),
        (lambda x: x, [0.0] * 4, np.eye(4), ShapeError, "1 to 3"),
        (lambda x: x, [0.0], np.eye(2), ShapeError, r"\(1, 1\) is needed"),
        (
            lambda x: x[:, 0],
            [0.0, 0.0],
            [[1, 2], [2, 1]],
            InvalidValueError,
            "not positive semidefinite",
        ),
        (lambda x: x[:, 0], [0.0, 0.0], [[1, 0.2], [0, 1]], InvalidValueError, "not symmetric"),
        (lambda x: x[:, 0] * np.nan, [0.0], [[1.0]], InvalidValueError, "returned NaN at x ="),
        (lambda x: x[:3, 0], [0.0], [[1.0]], ShapeError, "one row per point"),
        (lambda x: x[:, 5], [0.0], [[1.0]], InvalidTypeError, "failed on points"),
        (
            lambda x: np.ma.masked_less(x[:, 0], 1.0),
            [0.0],
            [[1.0]],
            InvalidValueError,
            "what function returned is a masked",
        ),
        (lambda x: 1j * x, [0.0], [[1.0]], InvalidTypeError, "real numbers"),
        (lambda x: np.exp(x[:, 0] ** 2), [0.0], [[1.0]], InvalidValueError, "grows too fast"),
        (
            lambda x: np.where(abs(x[:, 0] - 0.22) < 0.1, np.inf, 0.0),
            [0.0],
            [[1.0]],
            InvalidValueError,
            "infinite values",
        ),
    ],
)
def test_bad_expectations(function, mean, cov, error, message):
    with pytest.raises(error, match=message):
        gaussian_expectation(function, mean, cov)


def test_other_errors_of_the_function_name_it_and_the_points():
    def lookup(x):
        return np.array([{0.0: 1.0}[t] for t in x[:, 0]])

    with pytest.raises(KeyError) as caught:
        gaussian_expectation(lookup, [0.5], [[1.0]])
    (note,) = caught.value.__notes__
    assert note.startswith("Raised by function, called on ") and " points between [" in note


# --------------------------------------------------------------------------------------------
# narrow own functions


@pytest.mark.parametrize("width", [0.05, 0.007, 0.002])
def test_a_narrow_bump_of_a_users_function_is_not_stepped_over(width):
    """exp(-(x - 2.3)^2/(2 w^2)) with a partner: at correlation 0 the product of the means, else by
    Gauss-Hermite.
    """
    bump = inf.Activation.from_sympy("bump", f"exp(-(x - 2.3)**2/(2*{width}**2))")
    b = 0.3
    r2 = 4.0
    b2 = 0.9
    for r in (0.4, 1.05, 5.0):
        V = r * r + width**2
        mean = width / np.sqrt(V) * np.exp(-((2.3 - b) ** 2) / (2 * V))
        found = inf.gaussian_mean(bump, r, b, full_output=True)
        assert abs(found.value - mean) <= found.error_bound
        for u in (0.0, 0.6):
            # under the bump h1 is normal with mean c and variance v, and h2 given it as well
            c = b + r * r / V * (2.3 - b)
            v = (r * width) ** 2 / V
            m2 = b2 + r2 * u / r * (c - b)
            s2 = np.sqrt(r2**2 * (1 - u * u) + (r2 * u / r) ** 2 * v)
            exact = mean * inf.gaussian_mean("relu", s2, m2)
            found = inf.gaussian_moment(bump, "relu", r, r2, u, b, b2, full_output=True)
            assert abs(found.value - exact) <= found.error_bound + 1e-14 * exact, (r, u)


def test_narrow_places():
    """Registered functions and those that oscillate or vary slowly have none."""
    from infflow.activations import names, resolve
    from infflow.integrals.resolution import narrow_places

    assert not any(narrow_places(resolve(name)) for name in names())
    for expression in ("sin(x)**2", "x*tanh(log(1 + exp(x)))", "sin(x**2)", "x**3/(1 + x**2)"):
        assert narrow_places(inf.Activation.from_sympy("own", expression)) == ()
    low, middle, high = narrow_places(inf.Activation.from_sympy("own", "exp(-1000*(x + 3)**2)"))
    assert low < -3.05 < middle < -2.95 < high


@pytest.mark.parametrize(
    ("partner", "point"),
    [
        ("sign", (1.0210880511, 0.2261796257, 0.9999979371, 1.377950953, 0.1357301341)),
        ("relu", (1.6104727707, 0.1767707929, 0.9999804723, -0.3805832501, 0.0460929698)),
    ],
)
@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_estimates_of_waves_of_ones_own(partner, point, rtol):
    """A hundred periods in a standard deviation; twice as far off as was said before."""
    r1, r2, u, b1, b2 = point
    wave = inf.Activation.from_callable(
        "wave", lambda x: np.cos(60 * x), derivatives=[lambda x: -60 * np.sin(60 * x)]
    )
    exact = inf.gaussian_moment("cos", partner, 60 * r1, r2, u, 60 * b1, b2)
    for method in ("auto", "cubature"):
        options = {"method": method, "rtol": rtol, "full_output": True}
        with warnings.catch_warnings():
            if method == "cubature":  # which may say that it does not resolve the waves
                warnings.simplefilter("ignore", AccuracyWarning)
            found = inf.gaussian_moment(wave, partner, *point, **options)
        assert abs(found.value - exact) <= found.error_bound


@pytest.mark.parametrize("rate", [3.0, 40.0, 150.0, 400.0])
@pytest.mark.parametrize("r", [1.0, 0.05])
def test_oscillations_that_no_cell_resolves_are_in_the_error(rate, r):
    """cos(150 x) against relu: two rules that both step over waves agree by accident."""
    own = inf.Activation.from_callable(
        "waves",
        lambda x: np.cos(rate * x),
        [
            lambda x: -rate * np.sin(rate * x),
            lambda x: -(rate**2) * np.cos(rate * x),
            lambda x: rate**3 * np.sin(rate * x),
            lambda x: rate**4 * np.cos(rate * x),
        ],
    )
    known = inf.activation("cos").affine(rate)
    at = (r, 1.0, 0.5, 0.1, 0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)
        found = inf.gaussian_moment(own, "relu", *at, method="cubature", full_output=True)
    exact = inf.gaussian_moment(known, "relu", *at)
    assert abs(found.value - exact) <= found.error_bound
    assert found.error_bound <= 1e-8 or rate * r > 10.0
    default = inf.gaussian_moment(own, "relu", *at, full_output=True)
    assert default.method == "numeric"
    assert default.value == pytest.approx(exact, abs=default.error_bound)


@pytest.mark.parametrize("sine", [1e-2, 1e-3, 1e-4])
def test_moved_derivatives_next_to_parallel_are_no_better_than_their_bound(sine):
    """Derivatives of a narrow density cancel; tolerances do not refer to their size."""
    bare = Activation.from_callable("bare", lambda x: x * np.tanh(np.logaddexp(0.0, x)))
    point = (1.1, 0.9, np.sqrt(1.0 - sine**2), 0.2, -0.1)
    exact = inf.gaussian_moment("mish", "mish", *point, orders=(2, 2))
    with pytest.warns(AccuracyWarning, match="does not meet"):
        found = inf.gaussian_moment(
            bare, bare, *point, orders=(2, 2), method="cubature", full_output=True
        )
    assert abs(found.value - exact) <= found.error_bound
