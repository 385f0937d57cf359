"""Spectra by products only, against the dense Hessian."""

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, aslinearoperator, cg

import infflow as inf
from infflow.errors import InfflowError, SolverFailedError
from infflow.spectrum import lanczos_quadrature


@pytest.fixture(scope="module")
def data_net():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    net = inf.Net(
        [(15, "tanh", True), (5, "softplus", True), (1, "identity", True)],
        input=X,
        target=np.sin(X[:, 0]),
    )
    return net, inf.random_params(net, 1)


@pytest.fixture(scope="module")
def infinite():
    student = inf.Net([(12, "erf", True), (1, "identity", False)], input_dim=5)
    teacher = inf.Net([(4, "erf", True), (1, "identity", False)], input_dim=5)
    net = inf.NetI(student, inf.Teacher(teacher, inf.random_params(teacher, 1)))
    return net, inf.random_params(student, 2)


@pytest.fixture(params=["data_net", "infinite"])
def case(request):
    return request.getfixturevalue(request.param)


def test_operator(case):
    net, theta = case
    H = inf.hessian_operator(net, theta)
    dense = inf.hessian(net, theta)
    assert isinstance(H, LinearOperator) and H.shape == dense.shape and H.dtype == np.float64
    V = np.random.default_rng(3).standard_normal((len(theta), 3))
    scale = np.abs(dense).max() * len(theta)
    np.testing.assert_allclose(H @ V, dense @ V, atol=1e-14 * scale)
    np.testing.assert_allclose(H @ V[:, 0], dense @ V[:, 0], atol=1e-14 * scale)
    np.testing.assert_allclose(H.T @ V[:, :1], dense @ V[:, :1], atol=1e-14 * scale)
    np.testing.assert_allclose(H.rmatmat(V), dense @ V, atol=1e-14 * scale)
    assert (H @ np.ones((len(theta), 1))).shape == (len(theta), 1)


def test_operator_keeps_its_point(data_net):
    net, theta = data_net
    moved = theta.copy()
    H = inf.hessian_operator(net, moved)
    v = np.ones(len(theta))
    before = H @ v
    moved += 1.0
    np.testing.assert_array_equal(H @ v, before)


def test_operator_in_a_solver(data_net):
    net, theta = data_net
    shift = 2.0 * abs(inf.hessian_spectrum(net, theta).values[0])
    matrix = inf.hessian_operator(net, theta) + shift * aslinearoperator(np.eye(len(theta)))
    x = np.random.default_rng(4).standard_normal(len(theta))
    found, info = cg(matrix, matrix @ x, rtol=1e-13)
    assert info == 0
    np.testing.assert_allclose(found, x, atol=1e-9)


@pytest.mark.parametrize("k", [1, 4, 60])
def test_extreme_eigenpairs(case, k):
    net, theta = case
    dense = inf.hessian(net, theta)
    values = np.linalg.eigvalsh(dense)
    found = inf.extreme_eigenpairs(net, theta, k)
    scale = np.abs(values).max()
    np.testing.assert_allclose(found.bottom, values[:k], atol=1e-12 * scale)
    np.testing.assert_allclose(found.top, values[-k:], atol=1e-12 * scale)
    for one, vectors in ((found.bottom, found.bottom_vectors), (found.top, found.top_vectors)):
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-10)
        np.testing.assert_allclose(dense @ vectors, vectors * one, atol=1e-8 * scale)
    assert found.residuals.shape == (2, k) and found.residuals.max() < 1e-8 * scale
    assert len(theta) > 64  # the small problems below take the dense path; here k = 60 does


def test_extreme_eigenpairs_of_a_small_net():
    net = inf.Net(
        [(2, "tanh", True), (1, "identity", False)], input=np.eye(3), target=[0.0, 1.0, 2.0]
    )
    theta = inf.random_params(net, 0)
    found = inf.extreme_eigenpairs(net, theta, 10)
    np.testing.assert_array_equal(found.bottom, inf.hessian_spectrum(net, theta).values)
    np.testing.assert_array_equal(found.top, found.bottom)


def smooth(x, values, width):
    z = (x[:, None] - values) / width
    return np.exp(-0.5 * z * z).mean(axis=1) / (np.sqrt(2 * np.pi) * width)


def test_quadrature_is_exact_over_a_whole_basis(data_net):
    """The mean over an orthogonal basis has no sampling error, and P steps no quadrature error."""
    net, theta = data_net
    P = len(theta)
    dense = inf.hessian(net, theta)
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((P, P)))[0]
    nodes, weights = lanczos_quadrature(lambda V: dense @ V, basis, P)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-12)
    values = np.linalg.eigvalsh(dense)
    for power in range(6):
        estimate = (weights * nodes**power).sum(axis=1).mean()
        assert abs(estimate - (values**power).mean()) < 1e-12 * np.abs(values).max() ** power
    x = np.linspace(values[0], values[-1], 50)
    width = 0.01 * (values[-1] - values[0])
    density = np.mean(
        [
            (w * np.exp(-0.5 * ((x[:, None] - n) / width) ** 2)).sum(axis=1)
            for n, w in zip(nodes, weights, strict=True)
        ],
        0,
    )
    np.testing.assert_allclose(
        density / (np.sqrt(2 * np.pi) * width), smooth(x, values, width), rtol=1e-9, atol=1e-10
    )


def test_quadrature_stops_in_an_invariant_space():
    matrix = np.diag([1.0, 1.0, 2.0, 3.0, 3.0])
    start = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    nodes, weights = lanczos_quadrature(lambda V: matrix @ V, start, 5)
    np.testing.assert_allclose((weights * nodes).sum(axis=1), [1.0, 2.5], rtol=1e-14)
    np.testing.assert_allclose((weights * nodes**2).sum(axis=1), [1.0, 6.5], rtol=1e-14)
    assert ((weights > 1e-20).sum(axis=1) == [1, 2]).all()


def test_spectral_density(case):
    net, theta = case
    values = np.linalg.eigvalsh(inf.hessian(net, theta))
    found = inf.spectral_density(net, theta, probes=40, rng=5)
    exact = smooth(found.x, values, found.width)
    shown = exact > 1e-3 * exact.max()
    # 40 probes: Student's t beyond 5 has a probability of 1e-5 per point
    assert (
        np.abs(found.density - exact)[shown] < 5 * found.standard_error[shown] + 1e-9 * exact.max()
    ).all()
    assert found.standard_error[shown].max() > 0
    assert np.trapezoid(found.density, found.x) == pytest.approx(
        1.0, abs=1e-3
    )  # tails beyond 4 widths are cut off
    assert found.nodes.shape == found.weights.shape == (40, 80)
    more = inf.spectral_density(net, theta, probes=160, rng=5, x=found.x, width=found.width)
    ratio = np.median(more.standard_error[shown] / found.standard_error[shown])
    assert 0.4 < ratio < 0.63  # 1/2: errors fall as 1/sqrt(probes)


def test_spectral_density_is_reproducible_and_grouped(data_net, monkeypatch):
    net, theta = data_net
    first = inf.spectral_density(net, theta, probes=6, steps=20, rng=1)
    monkeypatch.setattr(
        "infflow.spectrum._MEMORY", 8 * len(theta) * 21 * 3
    )  # two groups of three, drawn one after the other
    again = inf.spectral_density(net, theta, probes=6, steps=20, rng=1)
    assert first.density.shape == again.density.shape == (400,)
    values = np.linalg.eigvalsh(inf.hessian(net, theta))
    for found in (first, again):
        assert values[0] - 1e-9 <= found.nodes.min() and found.nodes.max() <= values[-1] + 1e-9
    np.testing.assert_array_equal(
        inf.spectral_density(net, theta, probes=6, steps=20, rng=1).density, again.density
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, theta: inf.hessian_operator(3, theta), "a Net with data, a NetI"),
        (lambda net, theta: inf.hessian_operator(net, theta[1:]), "shape"),
        (lambda net, theta: inf.hessian_operator(net, np.full_like(theta, np.nan)), "finite"),
        (lambda net, theta: inf.extreme_eigenpairs(net, theta, 0), "at least 1"),
        (lambda net, theta: inf.extreme_eigenpairs(net, theta, 1000), "at most"),
        (lambda net, theta: inf.extreme_eigenpairs(net, theta, rtol=-1.0), "at least 0"),
        (lambda net, theta: inf.spectral_density(net, theta, width=0.0), "above 0"),
        (lambda net, theta: inf.spectral_density(net, theta, probes=1), "at least 2"),
        (lambda net, theta: inf.spectral_density(net, theta, x=[[1.0]]), "dimension 1"),
    ],
)
def test_bad_input(data_net, call, message):
    with pytest.raises(InfflowError, match=message):
        call(*data_net)


def test_no_convergence_is_an_error(data_net):
    net, theta = data_net
    with pytest.raises(SolverFailedError, match="max_iterations"):
        inf.extreme_eigenpairs(net, theta, 8, max_iterations=1, rtol=1e-15)


def test_a_point_mass_needs_a_width():
    net = inf.Net([(1, "identity", False)], input=np.sqrt(2.0) * np.eye(2), target=[0.0, 0.0])
    with pytest.raises(InfflowError, match="point mass"):
        inf.spectral_density(net, np.zeros(2))
    found = inf.spectral_density(net, np.zeros(2), width=0.1)
    assert found.x[found.density.argmax()] == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_equal_eigenvalues(scale):
    """All eigenvalues coincide: zero, as for dead neurons, or two."""
    X = scale * np.sqrt(80.0) * np.eye(80)
    net = inf.Net([(1, "identity", False)], input=X, target=np.zeros(80))
    found = inf.extreme_eigenpairs(net, np.zeros(80), 2)
    np.testing.assert_allclose(np.concatenate([found.bottom, found.top]), 2.0 * scale, rtol=1e-14)
    assert found.residuals.max() < 1e-14
