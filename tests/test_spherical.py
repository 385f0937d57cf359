"""Hidden weights that enter as w/|w|."""

from __future__ import annotations

import numpy as np
import pytest

import infflow as inf
from infflow.classification.classify import PointKind
from infflow.classification.symmetries import Symmetry
from infflow.errors import InvalidValueError
from infflow.networks.finite import readable
from infflow.networks.infinite.joint import JointLoss

rng = np.random.default_rng(0)
X = rng.normal(size=(9, 3))


def normal(generator, shape):
    return generator.normal(size=shape)


def start(net, seed=1):
    """Rows of any length."""
    return inf.random_params(net, seed, init=normal)


def finite(activation="tanh", **options):
    layers = [(4, activation, True), (3, "softplus", False), (2, "identity", True)]
    target = rng.integers(2, size=9) if "loss" in options else rng.normal(size=(9, 2))
    return inf.Net(layers, input=X, target=target, parametrization="spherical", **options)


def infinite(activation="erf", K=3, M=2, D=4, bias=False, teacher="standard", **options):
    output = (1, "identity", bias)
    student = inf.Net([(K, activation, bias), output], D, parametrization="spherical")
    master = inf.Net([(M, activation, bias), output], D, parametrization=teacher)
    return inf.NetI(student, inf.Teacher(master, start(master, 5)), **options)


def differences(objective, theta, step=1e-5):
    """Gradient and Hessian by central differences of order four."""
    moves = step * np.eye(len(theta))
    at = {k: [objective.evaluate(theta + k * d, 1) for d in moves] for k in (-2, -1, 1, 2)}
    factors = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
    gradient = sum(c * np.array([e.value for e in at[k]]) for k, c in factors.items()) / step
    hessian = sum(c * np.array([e.g for e in at[k]]) for k, c in factors.items()) / step
    return gradient, hessian


def check_derivatives(objective, theta):
    found = objective.evaluate(theta, 2)
    gradient, hessian = differences(objective, theta)
    size = np.abs(hessian).max()
    np.testing.assert_allclose(found.g, gradient, rtol=0, atol=1e-9 * size)
    np.testing.assert_allclose(found.H, hessian, rtol=0, atol=1e-9 * size)
    np.testing.assert_array_equal(found.H, found.H.T)
    v = rng.normal(size=(len(theta), 2))
    np.testing.assert_allclose(objective.hvp(theta, v), found.H @ v, rtol=0, atol=1e-13 * size)
    np.testing.assert_allclose(
        objective.hvp(theta, v[:, 0]), found.H @ v[:, 0], rtol=0, atol=1e-13 * size
    )


PENALTIES = {"ridge": 0.3, "maxnorm": 1.0, "merge": {"layer": 1, "pair": (0, 1), "lambda": 0.2}}


@pytest.mark.parametrize("options", [{}, {"weights": rng.uniform(size=9)}, {"loss": "huber"}])
def test_deep_nets_against_the_readable_twin(options):
    net = finite(**options) if "loss" not in options else finite().replace(**options)
    theta = start(net)
    found = net.evaluate(theta, 2)
    value, gradient, hessian = readable.derivatives(net, theta)
    assert found.value == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(found.g, gradient, rtol=0, atol=1e-12 * np.abs(gradient).max())
    np.testing.assert_allclose(found.H, hessian, rtol=0, atol=1e-12 * np.abs(hessian).max())
    v = rng.normal(size=(net.num_params, 2))
    expected = hessian @ v
    for product in (net.hvp(theta, v), net.linearize(theta)(v)):
        np.testing.assert_allclose(product, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_allclose(
        inf.gradient_covariance(net, theta), readable.covariance(net, theta), rtol=0, atol=1e-10
    )


def test_sum_of_squares_and_penalties():
    net = finite(**PENALTIES)
    theta = start(net)
    found = net.evaluate(theta, 1)
    r = net.residuals(theta)
    assert r @ r == pytest.approx(found.value, rel=1e-13)
    np.testing.assert_allclose(2 * net.jacobian(theta).T @ r, found.g, rtol=0, atol=1e-12)
    check_derivatives(net, theta)
    standard = net.replace(parametrization="standard")
    phi = net.normalized(theta)
    assert found.value == pytest.approx(standard.evaluate(phi).value, rel=1e-14)
    np.testing.assert_array_equal(net.predict(theta, X), standard.predict(phi, X))


@pytest.mark.parametrize("loss", ["squared", "correlation"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_infinite_data(activation, bias, loss):
    coloured = inf.Gaussian([0.3, 0.1, 0.0, -0.2], np.diag([1.0, 2.0, 3.0, 0.5]))
    net = infinite(activation, bias=bias, loss=loss, input=coloured if bias else None, **PENALTIES)
    check_derivatives(net, start(net))


def test_the_hessian_of_the_correlation_loss_is_that_of_the_sphere():
    net = infinite("erf", K=1, loss="correlation")
    plain = net.replace(student=net.student.replace(parametrization="standard"))
    theta = start(net)
    w = theta[:4]
    n = np.linalg.norm(w)
    u = w / n
    P = np.eye(4) - np.outer(u, u)
    there = plain.evaluate(np.append(u, theta[4]), 2)
    found = net.evaluate(theta, 2)
    np.testing.assert_allclose(found.g[:4], P @ there.g[:4] / n, atol=1e-15)
    riemannian = P @ there.H[:4, :4] @ P - (there.g[:4] @ u) * P
    np.testing.assert_allclose(P @ found.H[:4, :4] @ P, riemannian / n**2, atol=1e-14)
    np.testing.assert_allclose(found.H[:4, :4] @ w, -found.g[:4], atol=1e-14)


def test_links_on_the_sphere_turn():
    """The average of two He_4 links turns at the overlap (p-2)/(k+p-2) = 1/2; see
    test_continuation.py.
    """
    f = inf.activation("hermite(4)")
    teacher = inf.Net([(2, f, False), (1, "identity", False)], input_dim=2)
    student = inf.Net(
        [(1, f, False), (1, "identity", False)], input_dim=2, parametrization="spherical"
    )

    def links(beta):
        values, vectors = np.linalg.eigh(np.array([[1.0, beta], [beta, 1.0]]))
        V = (vectors * np.sqrt(values)) @ vectors.T
        theta = teacher.pack([(V, None), (np.ones((1, 2)), None)])
        return inf.NetI(student, inf.Teacher(teacher, theta), loss="correlation")

    average = np.array([1.0, 1.0, 1.0])
    frozen = [True, False, True]  # a weight in the place of the length, and the output weight
    indices = [inf.classify(links(b), average, frozen=[False, False, True]) for b in (0.6, 0.4)]
    assert [each.index for each in indices] == [0, 1]
    assert indices[0].flat[0].symmetry is Symmetry.RADIAL
    branch = inf.continuation(links, average, 0.52, 0.49, frozen=frozen)
    assert branch.events[0].parameter == pytest.approx(0.5, abs=1e-10)


@pytest.mark.parametrize("solver", ["rodas5p", "tsit5", "cvode_bdf"])
def test_flows_keep_lengths(solver):
    net = infinite("tanh", K=2, ridge=1e-3)
    theta = start(net)
    res = inf.train(
        net, theta, solver=solver, t_end=20.0, rtol=1e-9, atol=1e-9, max_steps_newton=0,
        progress=False,
    )  # fmt: skip
    rows = res.trajectory.theta[:, :8].reshape(-1, 2, 4)
    lengths = np.linalg.norm(rows, axis=2)
    np.testing.assert_allclose(lengths / lengths[0], 1.0, rtol=0, atol=1e-7)
    assert np.linalg.norm(rows[-1] - rows[0]) > 0.1


@pytest.mark.parametrize(
    ("activation", "K", "others"),
    [
        ("erf", 2, {}),
        ("relu", 2, {}),
        ("relu", 3, {Symmetry.DEAD: 3}),  # a neuron that fell silent: its tangents
        ("square", 1, {}),
    ],
)
def test_classify_names_lengths(activation, K, others):
    M = min(K, 2)
    net = infinite(activation, K=K, M=M, teacher="spherical")
    V, c = (each for each, _ in net.teacher.net.unpack(net.teacher.theta))
    W = np.vstack([3.0 * V, np.ones((K - M, 4))])
    theta = net.pack([(W, None), (np.hstack([c, np.zeros((1, K - M))]), None)])
    found = inf.classify(net, theta)
    assert found.kind is PointKind.DEGENERATE_MINIMUM
    dimensions = {each.symmetry: each.dimension for each in found.flat}
    assert dimensions == {Symmetry.RADIAL: K, **others}
    assert found.flat_dimension + found.multiplicities.sum() == net.num_params


def test_mixtures_of_linear_neurons_stay_on_their_spheres():
    """Three linear neurons in three inputs: 9 output-preserving directions, 6 tangents, and the
    product of weights is kept by a surface of dimension 9 - 3 - 3 + 3 radial ones.
    """
    net = infinite("identity", K=3, M=1, D=3)
    theta = start(net)
    theta[9:] = 2.0
    res = inf.train(net, theta, progress=False)
    assert res.loss < 1e-28
    found = inf.classify(net, res)
    assert found.flat_dimension == net.num_params - 3  # the map from inputs to the output is fixed


def test_flat_directions_of_finite_data():
    """Hessian and names agree where relus are dead or linear on all samples."""
    layers = [(3, "relu", True), (1, "identity", True)]
    data = np.abs(X[:, :2]) + 0.5
    net = inf.Net(layers, input=data, target=data.sum(axis=1), parametrization="spherical")
    W = np.array([[2.0, 2.0], [-1.0, -0.5], [0.3, 0.9]])
    A = np.array([[2.0, 1.0, 0.0]]) / 2**0.5
    theta = net.pack([(W, np.array([3.0, -1.0, 2.0])), (A, np.array([-6.0 / 2**0.5]))])
    assert net.evaluate(theta).value < 1e-28
    found = inf.classify(net, theta)
    assert found.kind is PointKind.DEGENERATE_MINIMUM
    zero = np.abs(inf.hessian_spectrum(net, theta).values) < 1e-12
    assert found.flat_dimension == zero.sum()


def test_certify_holds_the_largest_weight():
    pytest.importorskip("flint")
    net = infinite("erf", K=1, M=2)
    res = inf.train(net, start(net), progress=False)
    proof = inf.certify(net, res)
    assert proof
    assert proof.gauge == (int(np.argmax(np.abs(res.theta[:4]))),)
    assert any("w/|w|" in line for line in proof.assumptions)
    found = inf.classify(net, res)
    assert (proof.index, proof.positive) == (found.index, int(found.multiplicities.sum()))
    assert proof.loss.lower <= res.loss * (1 + 1e-14) and res.loss * (1 - 1e-14) <= proof.loss.upper
    assert "singular" in inf.certify(net, res, gauge=None).reason
    held = np.zeros(net.num_params, dtype=bool)
    held[0] = True
    assert inf.certify(net, res, frozen=held).gauge == ()


def test_balls_agree_with_floats():
    pytest.importorskip("flint")
    from infflow.proofs.ball import flint, working_precision
    from infflow.proofs.network import BallNetwork

    net = infinite("relu", K=2, teacher="spherical")
    theta = start(net)
    with working_precision(128):
        found = BallNetwork(net).evaluate([flint().arb(x) for x in theta])
    expected = net.evaluate(theta, 2)
    assert float(found.value) == pytest.approx(expected.value, rel=1e-14)
    np.testing.assert_allclose([float(x) for x in found.gradient], expected.g, atol=1e-14)
    hessian = [[float(x) for x in row] for row in found.hessian.tolist()]
    np.testing.assert_allclose(hessian, expected.H, atol=1e-14)


@pytest.mark.parametrize("loss", ["squared", "correlation"])
def test_reduction(loss):
    penalties = {"ridge": 0.2, "merge": PENALTIES["merge"]}
    net = infinite("erf", D=12, loss=loss, **penalties)
    theta = start(net)
    red = inf.reduce(net, theta)
    assert red.multiplicity == 7
    np.testing.assert_allclose(
        red.perpendicular(red.theta), red._from_products(red.theta, 0), atol=1e-14
    )
    found = inf.hessian_eigenvalues(net, theta)
    whole = np.linalg.eigvalsh(inf.hessian(net, theta))
    np.testing.assert_allclose(np.repeat(*found), whole, atol=1e-13)
    np.testing.assert_allclose(red.lift(red.theta), theta, atol=1e-14)


def test_training_in_the_span():
    net = infinite("erf", K=1, D=12)
    theta = start(net)
    few, whole = (inf.train(net, theta, reduce=each, progress=False) for each in (True, False))
    assert few.loss == pytest.approx(whole.loss, rel=1e-12)
    assert inf.classify(net, few).flat_dimension == 1


@pytest.mark.parametrize("both", [False, True])
def test_derivatives_in_the_teacher(both):
    net = infinite("erf", K=2, teacher="spherical" if both else "ntk", ridge=0.1)
    z = np.concatenate([start(net), 1.1 * net.teacher.theta])
    check_derivatives(JointLoss(net), z)


def test_covariance_and_fisher_by_sampling():
    net = infinite("erf", K=2)
    theta = start(net)
    many = net.sample(40_000, 0, method="sobol")
    exact = inf.gradient_covariance(net, theta, method="exact")
    np.testing.assert_allclose(inf.gradient_covariance(many, theta), exact, atol=0.02 * exact.max())
    F = inf.fisher(net, theta)
    np.testing.assert_allclose(inf.fisher(many, theta), F, atol=0.01 * F.max())
    radial = np.append(theta[:4], np.zeros(6))
    assert np.abs(F @ radial).max() < 1e-14 and np.abs(exact @ radial).max() < 1e-13


def test_starts_have_unit_rows():
    net = finite()
    for init in ("glorot_normal", "glorot_uniform", "standard_normal"):
        (W1, _), (W2, _), (A, _) = net.unpack(inf.random_params(net, 3, init=init))
        for W in (W1, W2):
            np.testing.assert_allclose(np.linalg.norm(W, axis=1), 1.0, rtol=1e-15)
        assert np.abs(np.linalg.norm(A, axis=1) - 1.0).max() > 1e-3
    plain = net.replace(parametrization="standard")
    np.testing.assert_array_equal(start(net), start(plain))
    assert net.replace(ridge=0.1).unit_rows is not None


def test_neurons_come_and_go():
    net = infinite("tanh", teacher="spherical")
    theta = start(net)
    wider, there = inf.grow(net, theta, 1, rng=0)
    halves, apart = inf.split_neuron(net, theta, 1)
    for other, point in ((wider, there), (halves, apart), inf.shrink(wider, there)):
        assert other.student.parametrization == "spherical"
        assert other.evaluate(point).value == pytest.approx(net.evaluate(theta).value, rel=1e-12)


def test_torch_gets_the_weights_as_they_enter():
    torch = pytest.importorskip("torch")
    layers = [(4, "tanh", True), (1, "identity", True)]
    net = inf.Net(layers, input_dim=3, parametrization="spherical")
    theta = start(net)
    outputs = inf.to_torch(net, theta)(torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(outputs, net.predict(theta, X), atol=1e-15)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_lengths_of_any_size(size):
    net = finite()
    theta = start(net)
    scaled = theta.copy()
    scaled[:12] *= size
    assert net.evaluate(scaled).value == pytest.approx(net.evaluate(theta).value, rel=1e-14)


def test_a_row_without_direction():
    net = finite()
    theta = start(net)
    net.unpack(theta)[1][0][2] = 0.0
    for act in (net.evaluate, net.residuals, lambda z: inf.train(net, z, progress=False)):
        with pytest.raises(InvalidValueError, match=r"row 2 of W2 is zero.*inf\.random_params"):
            act(theta)


def test_order_parameters_name_the_constraint():
    with pytest.raises(InvalidValueError, match='constraint="sphere"'):
        inf.OrderParameters(infinite(), learning_rate=0.1)
