"""Sums, multiples and affine images of activations: values, what they are made of, integrals by
terms against cubature, networks and losses next to a teacher.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import infflow as inf
from infflow.activations import resolve
from infflow.activations.sums import relu_power
from infflow.integrals.choice import Choice
from infflow.integrals.evaluator import Arguments
from infflow.integrals.terms import TermsChoice, pair_evaluator

X = np.concatenate([np.linspace(-6, 6, 97), [-1e6, -30.0, 30.0, 1e6]])


def named(name):
    return resolve(name)


RELU, TANH, ELU, ERF = (resolve(name) for name in ("relu", "tanh", "elu", "erf"))
ONE_SIDED = ELU - RELU  # exp(x) - 1 below 0

#: name, activation, the function itself, methods of the pair with itself
CASES = {
    "leaky": (0.2 * resolve("identity") + 0.8 * RELU, lambda x: np.where(x > 0, x, 0.2 * x)),
    "hard tanh": (RELU.affine(1, 1) - RELU.affine(1, -1) - 1, lambda x: np.clip(x, -1, 1)),
    "relu6": (RELU - RELU.affine(1, -6), lambda x: np.clip(x, 0, 6)),
    "erf": (ERF.affine(2**0.5), lambda x: np.vectorize(__import__("math").erf)(x)),
    "tanh(2x - 1)": (TANH.affine(2, -1), lambda x: np.tanh(2 * x - 1)),
    "2 tanh + x - 1": (2 * TANH + resolve("identity") - 1, lambda x: 2 * np.tanh(x) + x - 1),
    "sum": (
        TANH / 3 + RELU - resolve("sin"),
        lambda x: np.tanh(x) / 3 + np.maximum(x, 0) - np.sin(x),
    ),
    "laplace": (1 + ONE_SIDED + ONE_SIDED.affine(-1), lambda x: np.exp(-np.abs(x))),
    "celu": (2 * ELU.affine(0.5), lambda x: np.where(x > 0, x, 2 * np.expm1(np.minimum(x, 0) / 2))),
    "abs": (resolve("abs").affine(-2, 1), lambda x: np.abs(1 - 2 * x)),
    "square": (relu_power(2) / 2 - resolve("square"), lambda x: np.where(x > 0, 0, -(x**2) / 2)),
    "silu": (
        resolve("silu").affine(2) / 2,
        lambda x: x / (1 + np.exp(-np.minimum(2 * x, 700)) * 1.0),
    ),
    "polynomial": (
        3 * resolve("cube") - resolve("cube").affine(1, 1),
        lambda x: 3 * x**3 - (x + 1) ** 3,
    ),
}
SMOOTH = ("erf", "tanh(2x - 1)", "2 tanh + x - 1", "silu", "polynomial")


@pytest.mark.parametrize("name", CASES)
def test_values(name):
    f, function = CASES[name]
    x = X if name != "silu" else X[np.abs(X) < 100]
    with np.errstate(over="ignore"):
        expected = function(x)
    assert np.allclose(f(x), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_terms_are_the_function(name):
    f, _ = CASES[name]
    x = np.linspace(-5, 5, 101) + 0.00123
    total = sum(t.coefficient * t.primitive(t.scale * x + t.shift) for t in f.terms)
    assert np.allclose(total, f(x), rtol=1e-13, atol=1e-13)
    if f.parts:
        total = sum(t.coefficient * t.primitive(t.scale * x + t.shift) for t in f.parts)
        assert np.allclose(total, f(x), rtol=1e-12, atol=1e-12)
    for order in range(1, 5):
        step = 1e-4
        slope = (f.derivative(x + step, order - 1) - f.derivative(x - step, order - 1)) / (2 * step)
        clear = np.min([np.abs(x - k) for k in (*f.kinks, 1e9)], axis=0) > 2 * step
        assert np.allclose(f.derivative(x, order)[clear], slope[clear], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_expression_and_pickle(name):
    f, _ = CASES[name]
    for x in (-2.3, 0.4, 3.1):
        value = f.expression.subs(next(iter(f.expression.free_symbols)), x)
        assert float(value) == pytest.approx(float(f(x)), rel=1e-12)
    copy = pickle.loads(pickle.dumps(f))
    assert copy is f or np.array_equal(copy(X[:97]), f(X[:97]))


def test_equal_sums_are_one_object():
    assert 2 * RELU + 1 is RELU + 1 + RELU
    assert TANH * 1 is TANH and TANH + 0 is TANH and +TANH is TANH
    assert TANH.affine(-1) is -TANH
    assert (RELU - RELU.affine(-1)).polynomial == (0.0, 1.0)
    assert (TANH - TANH).polynomial == (0.0,)
    assert repr(TANH.affine(2, -1) * 3 - 0.5) == "Activation('3*tanh(2*x - 1) - 0.5')"


@pytest.mark.parametrize(
    ("f", "parity"),
    [
        (CASES["hard tanh"][0], -1),
        (CASES["laplace"][0], 1),
        (RELU + RELU.affine(-1), 1),
        (TANH.affine(2), -1),
        (TANH.affine(2, 1), 0),
        (TANH.affine(1, 1) + TANH.affine(1, -1), -1),
        (TANH.affine(1, 1) - TANH.affine(1, -1), 1),
        (RELU.affine(2), 0),
    ],
)
def test_parity(f, parity):
    assert f.parity == parity


def test_homogeneous():
    assert CASES["leaky"][0].homogeneous and RELU.affine(-3).homogeneous
    assert not (RELU + 1).homogeneous and not CASES["relu6"][0].homogeneous


@pytest.mark.filterwarnings("ignore::infflow.AccuracyWarning")  # of the reference
@pytest.mark.parametrize("name", CASES)
def test_moments_agree_with_cubature(name):
    f, _ = CASES[name]
    rng = np.random.default_rng(list(CASES).index(name))
    partners = [f, RELU, TANH, resolve("square")]
    for g in partners:
        orders = [(0, 0), (1, 1), (2, 0)][int(rng.integers(3))]
        point = (*rng.uniform(0.5, 1.5, 2), rng.uniform(-0.9, 0.9), *rng.normal(size=2))
        assert "closed" in inf.available_methods(f, g) or name == "sum"
        found = inf.gaussian_moment(f, g, *point, orders=orders, full_output=True)
        exact = inf.gaussian_moment(
            f, g, *point, orders=orders, method="cubature", full_output=True
        )
        assert found.method != "cubature"
        assert abs(found.value - exact.value) <= found.error_bound + exact.error_bound
    mean = inf.gaussian_mean(f, 0.8, 0.3, order=1, full_output=True)
    exact = inf.gaussian_mean(f, 0.8, 0.3, order=1, method="cubature", full_output=True)
    assert abs(mean.value - exact.value) <= mean.error_bound + exact.error_bound


def network(f, near=None, width=3, inputs=4):
    net = inf.Net([(width, f, True), (1, "identity", True)], input_dim=inputs)
    rng = np.random.default_rng(7)
    target = 0.7 * rng.normal(size=net.num_params)
    theta = 0.7 * rng.normal(size=net.num_params)
    if near is not None:
        theta = target + near * rng.normal(size=net.num_params)
    return inf.NetI(net, inf.Teacher(net, target)), theta


@pytest.mark.parametrize("near", [None, 1e-2])
@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_networks(name, near):
    loss, theta = network(CASES[name][0], near)
    gradient = inf.gradient(loss, theta)
    hessian = inf.hessian(loss, theta)
    rng = np.random.default_rng(8)
    direction = rng.normal(size=theta.size)
    step = 1e-5
    ahead = theta + step * direction
    behind = theta - step * direction
    slope = (inf.gradient(loss, ahead) - inf.gradient(loss, behind)) / (2 * step)
    assert np.allclose(hessian @ direction, slope, rtol=1e-5, atol=1e-6 * np.abs(hessian).max())
    change = (inf.loss(loss, ahead) - inf.loss(loss, behind)) / (2 * step)
    assert change == pytest.approx(gradient @ direction, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_loss_next_to_the_teacher(name):
    """Without cancellation: it falls like the square of the distance, as the Hessian says."""
    f, _ = CASES[name]
    loss, theta = network(f, 1e-7)
    target = loss.teacher.theta
    move = theta - target
    expected = 0.5 * move @ inf.hessian(loss, target) @ move
    assert inf.loss(loss, theta) == pytest.approx(expected, rel=2e-3)
    assert inf.loss(loss, target) == 0.0


@pytest.mark.parametrize("name", ["hard tanh", "relu6", "leaky", "2 tanh + x - 1", "celu"])
def test_finite_data_tends_to_infinite_data(name):
    loss, theta = network(CASES[name][0])
    data = loss.sample(200_000, 3)
    assert inf.loss(data, theta) == pytest.approx(inf.loss(loss, theta), rel=0.02)
    assert "closed" in loss.explain(theta) or "hermite" in loss.explain(theta)


def test_terms_evaluator_equals_the_registered_activation():
    """leaky_relu, split into parts that no merging joins, against the registry's row."""
    whole = resolve("leaky_relu")
    rng = np.random.default_rng(0)
    W = rng.normal(size=(4, 3))
    b = rng.normal(size=4)
    i, j = np.triu_indices(4)
    C = W @ W.T
    det = np.maximum(C[i, i] * C[j, j] - C[i, j] ** 2, 0.0) * (i != j)
    args = Arguments(np.array([C[i, i], C[i, j], C[j, j], b[i], b[j], det]), C.diagonal().copy(), b)
    expected = Choice([whole] * 4, i, j)(args, 2)
    split = 0.99 * RELU.affine(1, 0.5) + 0.005 + 0.01 * resolve("identity")
    moved = args._replace(
        pairs=args.pairs - np.array([[0], [0], [0], [0.5], [0.5], [0]]), b=args.b - 0.5
    )
    evaluator = pair_evaluator([split] * 4, i, j)
    assert isinstance(evaluator, TermsChoice)
    found = evaluator.evaluate(moved, 2)
    assert np.allclose(found.values, expected, rtol=1e-12, atol=1e-12)
    assert (evaluator.bounds(moved, found) < 1e-12).all()


@pytest.mark.filterwarnings("ignore::infflow.AccuracyWarning")
def test_bounds_know_of_cancellation():
    """softplus(x) - x = softplus(-x) is small far out, where its terms are large."""
    softplus = resolve("softplus")
    f = softplus - resolve("identity")
    for b, largest in ((0.0, 1e-11), (15.0, np.inf)):
        point = (0.5, 0.5, 0.3, b, b)
        found = inf.gaussian_moment(f, f, *point, method="closed", full_output=True)
        exact = inf.gaussian_moment(softplus, softplus, 0.5, 0.5, 0.3, -b, -b, method="hermite")
        assert abs(found.value - exact) <= found.error_bound
        assert found.error_bound <= largest * exact
    assert found.error_bound > 1e-6 * exact


@pytest.mark.parametrize(
    "wrong",
    [
        lambda a: a * a,
        lambda a: a + "relu",
        lambda a: a / 0,
        lambda a: a * np.nan,
        lambda a: np.inf + a,
        lambda a: a.affine(0.0),
        lambda a: a.affine("2"),
        lambda a: 1j * a,
        lambda a: a - np.ones(3),
    ],
)
def test_bad_operands(wrong):
    with pytest.raises(inf.InfflowError):
        wrong(TANH)


def test_training_with_a_sum_of_terms():
    loss, theta = network(CASES["hard tanh"][0], width=2, inputs=3)
    result = inf.train(loss, theta, progress=False, max_time_flow=20)
    assert result.gradient_norm < 1e-10


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize(
    ("f", "g"),
    [
        ("relu_power(2)", "relu_power(2)"),
        ("relu_power(3)", "erf"),
        ("hard_tanh", "relu"),
        ("elu(0.5)", "relu"),
        ("celu(2)", "relu"),
        ("sin(2)", "relu"),
        ("leaky_relu(0.2)", "erf(2)"),
    ],
)
def test_closed_forms_of_sums(f, g, biases):
    from infflow.integrals.closed.formulas import symbols as s

    r1 = 1.25
    r2 = 0.75
    u = 0.5
    b1, b2 = (0.25, -0.5) if biases else (0.0, 0.0)
    at = {s.C11: r1**2, s.C12: r1 * r2 * u, s.C22: r2**2, s.b1: b1, s.b2: b2}
    for orders in ((0, 0), (1, 0), (1, 1)):
        expression = inf.closed_form(f, g, biases=biases, derivatives=orders)
        value = complex(expression.subs(at).evalf(20)).real
        exact = inf.gaussian_moment(f, g, r1, r2, u, b1, b2, orders=orders)
        assert value == pytest.approx(exact, rel=1e-11, abs=1e-14)
    mean = inf.closed_form(f, biases=biases)
    value = complex(mean.subs({s.C: r1**2, s.b: b1}).evalf(20)).real
    assert value == pytest.approx(inf.gaussian_mean(f, r1, b1), rel=1e-11)


def test_closed_forms_in_three_dimensions():
    from infflow.integrals.closed.formulas import symbols as s

    at = {s.C11: 1.1, s.C12: 0.3, s.C13: 0.2, s.C22: 0.9, s.C23: 0.4, s.C33: 1.3}
    whole = inf.closed_form("erf", "h", "relu")
    split = inf.closed_form(ERF.affine(0.5, 0.0) + relu_power(2).affine(1, 0.3), "h", "relu")
    parts = [
        inf.closed_form(ERF.affine(0.5), "h", "relu"),
        inf.closed_form(relu_power(2).affine(1, 0.3), "h", "relu"),
    ]
    total = sum(float(part.subs(at)) for part in parts)
    assert float(split.subs(at)) == pytest.approx(total, rel=1e-12)
    assert float(whole.subs(at)) > 0.0


def test_homogeneity_of_powers():
    from infflow.classification.hidden import homogeneity, same_function

    assert homogeneity(relu_power(3)) == 3 and homogeneity(-2 * relu_power(2)) == 2
    assert homogeneity(relu_power(2) - resolve("square")) == 2
    assert homogeneity(relu_power(2) + RELU) is None and homogeneity(relu_power(2) + 1) is None
    assert homogeneity(CASES["leaky"][0]) == 1 and homogeneity(CASES["hard tanh"][0]) is None
    other = inf.Activation.from_sympy("mine", "Max(-1, Min(1, x))")
    assert same_function(other, CASES["hard tanh"][0]) and not same_function(other, RELU)


@pytest.mark.parametrize(
    "f",
    [CASES["leaky"][0], ERF.affine(-2) + 0.5 * RELU.affine(-3) + 1, resolve("gelu").affine(0.5)],
)
def test_proofs_speak_of_the_same_function(f):
    flint = pytest.importorskip("flint")
    from infflow.proofs.activations import exact_activation

    exact = exact_activation(f)
    for x in (-2.3, 0.4, 1.7):
        total = sum(float(c) * x**n for n, c in enumerate(exact.polynomial))
        for atom in exact.atoms:
            t = float(flint.arb(atom.width))
            if t == 0.0:
                value = max(x, 0.0) if atom.order == 0 else float(x > 0)
            else:
                cdf = float(resolve("normal_cdf")(x / t))
                density = float(resolve("gaussian")(x / t)) / (t * (2 * np.pi) ** 0.5)
                value = [x * cdf + t * t * density, cdf, density][atom.order]
            total += float(atom.weight) * value
        assert total == pytest.approx(float(f(x)), rel=1e-13)


def test_proofs_refuse_what_is_not_elementary():
    from infflow.errors import MethodError
    from infflow.proofs.activations import exact_activation

    for f in (TANH.affine(2), RELU.affine(1, 1), relu_power(2), CASES["celu"][0]):
        with pytest.raises(MethodError, match="certify"):
            exact_activation(f)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (2.0, -1.0), (-0.5, 3.0)])
def test_a_laplace_density_is_made_of_functions_that_end(scale, shift):
    """A constant, and one-sided exponentials that are 0 beyond the kink: nothing grows."""
    f = (1 + ONE_SIDED + ONE_SIDED.affine(-1)).affine(scale, shift)
    constant = [p.primitive for p in f.parts if p.primitive.sides is None]
    assert [a.polynomial for a in constant] == [(1.0,)]
    assert [p.primitive.sides.slope for p in f.parts if p.primitive.sides] == [0.0, 0.0]
    assert f(X) == pytest.approx(np.exp(-np.abs(scale * X + shift)), abs=1e-14, rel=1e-14)


def test_a_reflected_elu_keeps_its_slope():
    f = ELU.affine(-1) + resolve("identity")
    assert sum(bool(p.primitive.sides) for p in f.parts) <= 1
    assert f(X[:97]) == pytest.approx(
        np.where(X[:97] < 0, 0, np.expm1(-X[:97]) + X[:97]), abs=1e-14
    )
    found = inf.gaussian_moment(f, f, 1.2, 0.7, 0.3, 0.4, -0.2)
    exact = inf.gaussian_moment(f, f, 1.2, 0.7, 0.3, 0.4, -0.2, method="cubature")
    assert found == pytest.approx(exact, rel=1e-10)
