"""Splitting, growing and shrinking preserve the function; sections, planes and distances."""

import numpy as np
import pytest

import infflow as inf
from infflow.errors import InvalidTypeError, InvalidValueError, ShapeError
from infflow.fixedpoints import OPTIMIZERS, FixedPointProblem
from infflow.landscape.distance import cosine_similarity, solution_distance
from infflow.landscape.neurons import grow, shrink, split_neuron
from infflow.landscape.plane import Section, loss_on_plane, minimise_orthogonal
from infflow.objective import Freezable
from infflow.stopping import StopRules

D = 3
X = np.random.default_rng(5).normal(size=(200, D))


def finite(widths=(4,), activation="tanh", outputs=2, **arguments):
    layers = [(width, activation, True) for width in widths] + [(outputs, "identity", True)]
    y = np.random.default_rng(6).normal(size=(len(X), outputs))
    net = inf.Net(layers, input=X, target=y, **arguments)
    return net, inf.random_params(net, 1, init="standard_normal")


def infinite(activation="erf", K=3, M=4, outputs=1, **arguments):
    nets = [
        inf.Net([(n, activation, True), (outputs, "identity", True)], input_dim=D, **arguments)
        for n in (K, M)
    ]
    teacher = inf.Teacher(nets[1], inf.random_params(nets[1], 3, init="standard_normal"))
    return inf.NetI(nets[0], teacher), inf.random_params(nets[0], 1, init="standard_normal")


CASES = {
    "finite": finite(),
    "ntk": finite(parametrization="ntk"),
    "mean field": finite(parametrization="mean_field", activation=["tanh", "relu", "gelu", "erf"]),
    "deep": finite(widths=(3, 4)),
    "cross entropy": (
        inf.Net(
            [(3, "tanh", True), (2, "identity", True)],
            input=X,
            target=(X[:, 0] > 0).astype(int),
            loss="cross_entropy",
        ),
        np.random.default_rng(0).normal(size=20),
    ),
    "infinite": infinite(),
    "infinite mean field": infinite(parametrization="mean_field", outputs=2, activation="tanh"),
    "input": (
        lambda net, theta: (
            inf.NetI(net.student, net.teacher, inf.Gaussian(np.ones(D), 2 * np.eye(D))),
            theta,
        )
    )(*infinite()),
}


def same(before, after):
    net, theta = before
    new, other = after
    np.testing.assert_allclose(new.predict(other, X), net.predict(theta, X), rtol=0, atol=1e-14)
    # integrals of tanh are evaluated to the tolerance 1e-10 of the network
    by_number = isinstance(net, inf.NetI) and net.layers[0].activations[0].name == "tanh"
    np.testing.assert_allclose(
        inf.loss(new, other), inf.loss(net, theta), rtol=1e-10 if by_number else 1e-14
    )


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("gamma", [0.3, -1.5])
def test_split_neuron(name, gamma):
    net, theta = CASES[name]
    layer = len(net.layers) - 2
    wide, split = split_neuron(net, theta, 1, gamma, layer=layer)
    same((net, theta), (wide, split))
    assert type(wide) is type(net) and wide.layers[layer].width == net.layers[layer].width + 1
    W, b = wide.unpack(split)[layer]
    np.testing.assert_array_equal(W[1], W[2])
    assert b[1] == b[2] and wide.layers[layer].activations[1] is wide.layers[layer].activations[2]
    # gradients with respect to the input weights are shared as the output weights are
    G = wide.unpack(inf.gradient(wide, split))
    g = net.unpack(inf.gradient(net, theta))[layer][0][1]
    atol = (
        1e-10
        if isinstance(net, inf.NetI) and net.student.parametrization == "mean_field"
        else 1e-13
    )
    np.testing.assert_allclose(G[layer][0][1], gamma * g, atol=atol)
    np.testing.assert_allclose(G[layer][0][2], (1 - gamma) * g, atol=atol)
    back = shrink(wide, split, layer=layer)
    assert back[0].layers[layer].width == net.layers[layer].width
    np.testing.assert_allclose(back[1], theta, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_grow_and_shrink(name):
    net, theta = CASES[name]
    layer = len(net.layers) - 2
    width = net.layers[layer].width
    wide, grown = grow(net, theta, 3, rng=0, layer=layer)
    same((net, theta), (wide, grown))
    assert wide.layers[layer].width == width + 3
    assert (
        wide.unpack(grown)[layer][0][width:].all()
        and not wide.unpack(grown)[layer + 1][0][:, width:].any()
    )
    small, back = shrink(wide, grown, layer=layer)
    assert small.num_params == net.num_params
    np.testing.assert_allclose(back, theta, atol=1e-14)
    random, start = grow(net, theta, 2, rng=0, output="random", activation="softplus", layer=layer)
    assert random.layers[layer].activations[-1].name == "softplus"
    assert random.unpack(start)[layer + 1][0][:, -2:].all()
    with pytest.raises(AssertionError):
        same((net, theta), (random, start))


def test_shrink_merges_signs_scales_and_constants():
    net = inf.Net(
        [(6, ["tanh", "tanh", "relu", "relu", "square", "gelu"], True), (1, "identity", True)],
        input_dim=2,
    )
    W = np.array([[1.0, 2.0], [-1.0, -2.0], [0.5, 0.1], [1.5, 0.3], [1.0, 1.0], [0.0, 0.0]])
    b = np.array([0.3, -0.3, 0.2, 0.6, 0.0, 0.7])
    theta = net.pack([(W, b), (np.array([[1.0, 0.25, 2.0, -1.0, 0.0, 3.0]]), np.array([0.5]))])
    small, found = shrink(net, theta)
    np.testing.assert_allclose(
        small.predict(found, X[:, :2]), net.predict(theta, X[:, :2]), atol=1e-14
    )
    assert [a.name for a in small.layers[0].activations] == ["tanh", "relu"]
    # the second relu does more than the first
    np.testing.assert_allclose(small.unpack(found)[1][0], [[0.75, -1.0 / 3.0]], atol=1e-15)
    zero, nothing = shrink(net, 0 * theta)
    assert zero.layers[0].width == 1 and not nothing.any()


@pytest.mark.parametrize("activation", ["relu", "square", "sign"])
def test_shrink_does_not_depend_on_the_balance_of_homogeneous_neurons(activation):
    net = inf.Net([(4, activation, False), (1, "identity", True)], input_dim=3)
    degree = {"relu": 1, "square": 2, "sign": 0}[activation]
    W = np.array([[1.0, 2.0, 3.0], [-0.4, 1.0, 0.1], [0.3, -1.0, 1.0], [1.0, 2.0, 3.0]])
    a = np.array([0.2, 0.8, -1.5, 0.3])
    merged = np.array([0.5, 0.8, -1.5])  # the first and the last are the same
    for scales in ([1e-6, 1.0, 1.0, 1.0], [1.0, 1e5, 1e-5, 1e-4], [1e9, 1.0, 1e-9, 1e-3]):
        factors = np.array(scales)
        theta = net.pack(
            [(W * factors[:, None], None), (a[None, :] / factors**degree, np.array([0.1]))]
        )
        small, found = shrink(net, theta, 1e-3)
        assert small.layers[0].width == 3
        np.testing.assert_allclose(
            small.predict(found, X), net.predict(theta, X), rtol=0, atol=1e-13
        )
        (W2, _), (A2, _) = small.unpack(found)
        effects = A2[0] * np.linalg.norm(W2, axis=1) ** degree
        np.testing.assert_allclose(
            sorted(effects), sorted(merged * np.linalg.norm(W[:3], axis=1) ** degree), rtol=1e-13
        )
    # one that does next to nothing goes, however large its input weights are
    theta = net.pack(
        [
            (W * np.array([[1.0], [1.0], [1e9], [1.0]]), None),
            (np.array([[0.2, 0.8, 0.0, 0.3]]), np.zeros(1)),
        ]
    )
    assert shrink(net, theta)[0].layers[0].width == 2


def test_shrink_keeps_small_tanh_neurons_beside_large_relu_weights():
    net = inf.Net([(3, ["tanh", "relu", "relu"], True), (1, "identity", True)], input_dim=2)
    W = np.array([[1.0, 0.5], [1e8, 2e8], [1e-12, 0.0]])
    b = np.array([0.1, 0.0, 2.0])
    theta = net.pack([(W, b), (np.array([[1.0, 1e-8, 1.0]]), np.array([0.3]))])
    small, found = shrink(net, theta, 1e-6)
    assert [a.name for a in small.layers[0].activations] == [
        "tanh",
        "relu",
    ]  # the other relu is a constant
    np.testing.assert_allclose(
        small.predict(found, X[:, :2]), net.predict(theta, X[:, :2]), atol=1e-11
    )


def minimum_of_one_neuron(seed, bias):
    """A minimum of a net with one neuron on the labels of a net with two."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(100, 1))
    y = np.tanh(2 * inputs[:, 0]) - rng.normal() * np.tanh(inputs[:, 0] / 2 + rng.normal())
    net = inf.Net([(1, "tanh", bias), (1, "identity", bias)], input=inputs, target=y)
    start = inf.random_params(net, 0)
    problem = FixedPointProblem(net, start, np.ones(net.num_params, bool))
    found = OPTIMIZERS["newton"].run(problem, start, StopRules(10.0, 500, 0.0, 1e-15, 10**6))
    assert found.loss > 1e-4 and found.gradient_norm < 1e-12
    assert np.linalg.eigvalsh(inf.hessian(net, found.theta))[0] > 1e-4
    return net, found.theta


@pytest.mark.parametrize(("seed", "bias"), [(0, False), (3, False), (0, True)])
def test_splitting_a_minimum_makes_lines_of_minima_and_saddles(seed, bias):
    """Fukumizu and Amari, Neural Networks 13 (2000) 317, Theorem 3."""
    net, minimum = minimum_of_one_neuron(seed, bias)
    index = {}
    for gamma in (-0.5, 0.25, 0.5, 1.5):
        wide, split = split_neuron(net, minimum, 0, gamma)
        assert np.abs(inf.gradient(wide, split)).max() < 1e-12  # still critical
        values = np.linalg.eigvalsh(inf.hessian(wide, split))
        assert np.sum(np.abs(values) < 1e-10) == 1  # along the line
        index[gamma] = int(np.sum(values < -1e-10))
    # the Hessian along moving the copies apart is gamma (1 - gamma) B: its sign changes at 0 and 1.
    # A definite B, here a number, makes minima on one side and saddles on the other; an indefinite
    # B, with a bias, saddles everywhere
    inside = index[0.5]
    outside = index[1.5]
    assert index[0.25] == inside and index[-0.5] == outside
    assert {inside, outside} == ({1} if bias else {0, 1})


def test_section_is_the_restriction():
    net, theta = finite(widths=(2,))
    rng = np.random.default_rng(0)
    d1, d2 = rng.normal(size=(2, net.num_params))
    section = Section(net, theta, d1, d2)
    n = net.num_params - 2
    B = section.outside(np.eye(n))
    np.testing.assert_allclose(B.T @ B, np.eye(n), atol=1e-14)
    np.testing.assert_allclose(np.array([d1, d2]) @ B, 0, atol=1e-14)
    y, v = rng.normal(size=(2, n))
    value, gradient, hessian = section.evaluate(y, 2)
    full = net.evaluate(theta + B @ y, 2)
    np.testing.assert_allclose(value, full.value, rtol=1e-14)
    np.testing.assert_allclose(gradient, B.T @ full.gradient, atol=1e-13)
    np.testing.assert_allclose(hessian, B.T @ full.hessian @ B, atol=1e-12)
    np.testing.assert_allclose(section.hvp(y, v), hessian @ v, atol=1e-12)
    np.testing.assert_allclose(section.jacobian(y), net.jacobian(theta + B @ y) @ B, atol=1e-13)
    assert not isinstance(section, Freezable)
    assert isinstance(Section(*infinite(), *rng.normal(size=(2, 16))), Freezable)


@pytest.mark.parametrize("optimizer", ["auto", "levenberg_marquardt", "lbfgs"])
def test_minimise_orthogonal(optimizer):
    net, theta = finite(widths=(2,), outputs=1, ridge=0.02)
    rng = np.random.default_rng(1)
    d1, d2 = rng.normal(size=(2, net.num_params))
    found = minimise_orthogonal(
        net, theta, d1, d2, 0.3, -0.2, optimizer=optimizer, min_gradient_norm=1e-9
    )
    e1 = d1 / np.linalg.norm(d1)
    e2 = d2 / np.linalg.norm(d2)
    shift = found.theta - (theta + 0.3 * e1 - 0.2 * e2)
    np.testing.assert_allclose([shift @ e1, shift @ e2], 0, atol=1e-12)
    assert found.status.converged and found.loss < net.evaluate(theta).value
    g = inf.gradient(net, found.theta)
    plane = np.linalg.qr(np.column_stack([e1, e2]))[0]
    assert np.abs(g - plane @ (plane.T @ g)).max() < 1e-8
    np.testing.assert_allclose(inf.loss(net, found.theta), found.loss, rtol=1e-13)


def test_minimise_orthogonal_of_an_infinite_data_net_through_its_minimum():
    net, start = infinite("tanh", K=2, M=2)
    teacher = net.teacher.theta
    d1, d2 = np.random.default_rng(1).normal(size=(2, len(start)))
    found = minimise_orthogonal(net, teacher, d1, d2, start=teacher + 0.05 * np.ones(len(start)))
    assert found.loss < 1e-20 and np.abs(found.theta - teacher).max() < 1e-9


def test_loss_on_plane():
    net, theta = finite(widths=(2,), outputs=1)
    d1, d2 = np.eye(net.num_params)[[0, 3]]
    a = np.linspace(-0.2, 0.2, 3)
    plain = loss_on_plane(net, theta, d1, d2, a, [0.0, 0.1])
    assert plain.shape == (3, 2)
    np.testing.assert_allclose(plain[2, 1], inf.loss(net, theta + 0.2 * d1 + 0.1 * d2), rtol=1e-14)
    lower = loss_on_plane(net, theta, d1, d2, a, [0.0, 0.1], minimise=True, max_steps=50)
    assert (lower < plain).all()
    single = minimise_orthogonal(net, theta, d1, d2, -0.2, 0.0, max_steps=50)
    np.testing.assert_allclose(lower[0, 0], single.loss, rtol=1e-12)


def test_cosine_similarity():
    a = np.array([[3.0, 4.0], [1e-200, 0.0]])
    b = np.array([[4.0, 3.0], [0.0, -2.0], [1e200, 1e200]])
    np.testing.assert_allclose(
        cosine_similarity(a, b), [[0.96, -0.8, 0.7 * 2**0.5], [0.8, 0, 0.5**0.5]], rtol=1e-15
    )
    np.testing.assert_allclose(np.diag(cosine_similarity(b)), 1.0, rtol=1e-15)
    assert cosine_similarity(a[0], b[0]) == pytest.approx(0.96) and cosine_similarity(
        a[0], b
    ).shape == (3,)
    with pytest.raises(InvalidValueError, match="zeros"):
        cosine_similarity(np.zeros(3), np.ones(3))
    with pytest.raises(ShapeError, match="agree"):
        cosine_similarity(np.ones(3), np.ones(2))


@pytest.mark.parametrize("activation", ["tanh", "relu", "gaussian", "softplus", "square"])
def test_solution_distance_ignores_symmetries(activation):
    net, theta = (
        infinite(activation, K=4, parametrization="ntk")
        if activation != "softplus"
        else infinite("softplus", K=4)
    )
    rng = np.random.default_rng(0)
    order = rng.permutation(4)
    (W, b), (A, c) = (tuple(np.array(x) for x in pair) for pair in net.unpack(theta))
    f = net.layers[0].activations[0]
    signs = rng.choice([-1.0, 1.0], size=4) if f.parity else np.ones(4)
    factor = {"tanh": signs, "gaussian": 1.0, "square": 1.0}.get(activation, 1.0)
    other = net.pack(
        [((signs[:, None] * W)[order], (signs * b)[order]), ((factor * A)[:, order], c)]
    )
    np.testing.assert_allclose(inf.loss(net, other), inf.loss(net, theta), rtol=1e-13)
    assert (
        solution_distance(net, theta, other)
        < 1e-13
        < 0.1
        < solution_distance(net, theta, -0.9 * theta)
    )
    moved = other.copy()
    moved[-1] += 1e-3  # the output bias
    np.testing.assert_allclose(solution_distance(net, theta, moved), 1e-3, rtol=1e-9)
    wide, split = split_neuron(net, theta, 2, 0.3)
    wide, split = grow(wide, split)
    permuted = wide.pack(
        [
            (x[0][::-1], x[1][::-1]) if k == 0 else (x[0][:, ::-1], x[1])
            for k, x in enumerate(wide.unpack(split))
        ]
    )
    assert solution_distance(wide, split, permuted) < 1e-13
    assert (
        solution_distance(wide, split, inf.random_params(wide, 0, init="standard_normal")) == np.inf
    )


def test_bad_arguments():
    net, theta = finite()
    with pytest.raises(InvalidValueError, match="at most 3"):
        split_neuron(net, theta, 4)
    with pytest.raises(ShapeError):
        split_neuron(net, theta[:-1], 0)
    with pytest.raises(InvalidValueError, match="no hidden layer"):
        shrink(inf.Net([(1, "identity", True)], input_dim=2), np.zeros(3))
    with pytest.raises(InvalidTypeError, match="a Net or a NetI"):
        grow(np, theta)
    with pytest.raises(InvalidValueError, match="parallel"):
        minimise_orthogonal(net, theta, theta, -2 * theta)
    with pytest.raises(InvalidValueError, match="d2 is zero"):
        minimise_orthogonal(net, theta, theta, 0 * theta)
    with pytest.raises(InvalidTypeError, match="minimise=True"):
        loss_on_plane(net, theta, theta, np.ones_like(theta), [0.0], [0.0], max_steps=3)
    deep, long = finite(widths=(2, 2))
    with pytest.raises(InvalidValueError, match="hidden layers"):
        solution_distance(deep, long, long)
