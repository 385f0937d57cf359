"""Exact covariances of single-sample gradients against evenly spread samples."""

import numpy as np
import pytest

import infflow as inf
from infflow.errors import (
    AccuracyWarning,
    InvalidTypeError,
    InvalidValueError,
    MethodError,
    ShapeError,
)
from infflow.networks import gradient_moments
from infflow.networks.conditional_moments import conditional_moments
from infflow.networks.gradient_moments import covariances

D = 5
SHIFTED = inf.Gaussian(np.linspace(-0.4, 0.6, D), np.linspace(0.5, 1.5, D))
MIXTURE = inf.GaussianMixture([0.3, 0.7], np.eye(2, D), np.ones((2, D)) - 0.4 * np.eye(2, D))
COLOURED = inf.Gaussian(np.zeros(D), np.diag([0.5, 1, 1.5, 1, 2.0]) + 0.2)


def problem(
    f,
    g,
    K=2,
    M=2,
    O=1,
    outer=False,
    hidden=False,
    parametrization="standard",
    biases=0.0,
    **options,
):
    net = inf.Net(
        [(K, f, hidden), (O, "identity", outer)], input_dim=D, parametrization=parametrization
    )
    target = inf.Net([(M, g, False), (O, "identity", outer)], input_dim=D)
    theta = inf.random_params(net, rng=1, init="standard_normal")
    if hidden:
        net.unpack(theta)[0][1][:] = biases
    noise = options.pop("noise", 0.3)
    star = inf.random_params(target, rng=2, init="standard_normal")
    return inf.NetI(net, inf.Teacher(target, star, noise=noise), **options), theta


CASES = {
    "erf": {"f": "erf", "g": "erf"},
    "relu": {"f": "relu", "g": "relu"},
    "gelu": {"f": "gelu", "g": "erf"},
    "two outputs, signs": {"f": "erf", "g": "sign", "O": 2, "outer": True},
    "squares with biases of zero": {"f": "square", "g": "relu", "outer": True, "hidden": True},
    "coloured input": {
        "f": "erf",
        "g": "relu",
        "input": COLOURED,
        "hidden": True,
        "parametrization": "ntk",
    },
    "smaller span": {"f": "abs", "g": "erf", "K": 1, "M": 1},
    "mixed students": {"f": ["erf", "relu"], "g": "gaussian", "M": 1},
    "tanh with biases, two outputs": {
        "f": "tanh",
        "g": "erf",
        "O": 2,
        "outer": True,
        "hidden": True,
        "biases": [0.4, -0.7],
    },
    "softplus, input with mean": {"f": "softplus", "g": "sigmoid", "input": SHIFTED},
    "two Gaussians": {"f": ["erf", "silu"], "g": "tanh", "outer": True, "input": MIXTURE},
}


@pytest.mark.parametrize("case", CASES)
def test_exact_covariance(case):
    neti, theta = problem(**CASES[case])
    (C,) = covariances(neti, theta, "exact", 0, np.random.default_rng(0))
    found = list(covariances(neti, theta, "sampling", 2**18, np.random.default_rng(1)))
    mean = np.mean(found, axis=0)
    error = np.std(found, axis=0, ddof=1) / 4
    size = np.sqrt(np.outer(np.diagonal(C), np.diagonal(C)))
    assert (np.abs(C - mean) < 5 * error + 1e-10 * size).all()
    assert (np.abs(C - mean) < 5e-2 * size).all()  # the errors are small as well
    assert np.linalg.eigvalsh(C)[0] > -1e-10 * size.max()
    np.testing.assert_array_equal(C, C.T)


ERROR_FUNCTIONS = {
    "three students, two outputs": {"f": "erf", "g": "erf", "K": 3, "O": 2},
    "constants and widths": {
        "f": ["erf", "normal_cdf"],
        "g": ["erf(2)", "normal_cdf", "erf"],
        "M": 3,
        "outer": True,
        "hidden": True,
    },
    "coloured": {"f": "normal_cdf", "g": "erf", "outer": True, "input": COLOURED},
    "one of each": {"f": "erf", "g": "normal_cdf", "K": 1, "M": 1},
}


@pytest.mark.parametrize("case", ERROR_FUNCTIONS)
def test_error_functions_by_conditioning(case, monkeypatch):
    """Against the rows that serve all closed forms."""
    neti, theta = problem(**ERROR_FUNCTIONS[case])
    (C,) = covariances(neti, theta, "exact", 0, np.random.default_rng(0))
    monkeypatch.setattr(gradient_moments, "as_error_functions", lambda *args: None)
    (expected,) = covariances(neti, theta, "exact", 0, np.random.default_rng(0))
    size = np.sqrt(np.outer(np.diagonal(expected), np.diagonal(expected)))
    np.testing.assert_allclose(C / size, expected / size, atol=1e-12)


def by_grid(neti, theta, step=0.18, radius=7.6):
    """Covariance by the trapezoidal rule over all inputs."""
    D = neti.input_dim
    line = step * np.arange(-int(radius / step), int(radius / step) + 1)
    X = np.stack([axis.ravel() for axis in np.meshgrid(*[line] * D)], axis=1)
    weights = np.exp(-0.5 * (X**2).sum(axis=1))
    teacher = neti.teacher
    y = teacher.net.predict(teacher.theta, X)
    return inf.gradient_covariance(neti.student.replace(input=X, target=y, weights=weights), theta)


@pytest.mark.parametrize("f", ["softplus", "tanh", "gelu", "sin", "own"])
def test_quadrature_in_planes_against_a_grid(f):
    """Three inputs, two students, biases: an integral over three dimensions."""
    if f == "own":
        f = inf.Activation.from_sympy("own", "x/(1 + x**2)")
    net = inf.Net([(2, f, True), (2, "identity", True)], input_dim=3)
    target = inf.Net([(3, f, True), (2, "identity", True)], input_dim=3)
    theta = 0.8 * np.sin(np.arange(1.0, net.num_params + 1))
    star = np.cos(np.arange(1.0, target.num_params + 1))
    neti = inf.NetI(net, inf.Teacher(target, star))
    C = inf.gradient_covariance(neti, theta, method="exact")
    expected = by_grid(neti, theta)
    size = np.sqrt(np.outer(np.diagonal(expected), np.diagonal(expected)))
    np.testing.assert_allclose(C / size, expected / size, atol=2e-9)


def test_quadrature_in_planes_against_closed_forms():
    """Many inputs, and parallel students, whose plane is a line."""
    net = inf.Net([(3, "erf", True), (1, "identity", True)], input_dim=D)
    theta = inf.random_params(net, rng=1, init="standard_normal")
    W, b = net.unpack(theta)[0]
    W[1] = -2.0 * W[0]
    b[:] = 0.0
    star = inf.random_params(net, rng=2, init="standard_normal")
    net.unpack(star)[0][1][:] = 0.0
    neti = inf.NetI(net, inf.Teacher(net, star), input=COLOURED)
    (parts,) = gradient_moments._units(neti, theta)
    found = conditional_moments(parts, gradient_moments._activations(neti), 1e12)
    exact = gradient_moments._exact(parts, neti)
    size = np.sqrt(np.diagonal(exact.M))
    np.testing.assert_allclose(
        found.M / np.outer(size, size), exact.M / np.outer(size, size), atol=1e-9
    )
    np.testing.assert_allclose(found.mean / size, exact.mean / size, atol=1e-9)


def test_sharp_neurons_are_sampled():
    neti, theta = problem("tanh", "tanh")
    with pytest.raises(MethodError, match="in planes does not do"):
        inf.gradient_covariance(neti, 200.0 * theta, method="exact")
    assert np.isfinite(inf.gradient_covariance(neti, 200.0 * theta)).all()


def test_sampling_is_unbiased_against_plain_samples():
    """The reduction to the span, the part across it and the exact noise, by brute force."""
    neti, theta = problem("tanh", "tanh", hidden=True, outer=True, input=COLOURED)
    net = neti.student
    W, b = net.unpack(theta)[0]
    b[:] = [0.3, -0.5]
    found = [inf.gradient_covariance(neti.sample(20_000, seed), theta) for seed in range(30)]
    error = np.std(found, axis=0, ddof=1) / np.sqrt(30)
    for method in ("sampling", "exact"):
        C = inf.gradient_covariance(neti, theta, method=method)
        assert (np.abs(C - np.mean(found, axis=0)) < 5 * error + 1e-12).all()
    assert W.shape == (2, D)


def test_errors_of_sobol_points_are_smaller():
    neti, theta = problem("tanh", "tanh", noise=0.0)
    even = list(covariances(neti, theta, "sampling", 2**16, np.random.default_rng(1)))
    plain = [inf.gradient_covariance(neti.sample(2**12, seed), theta) for seed in range(16)]
    ratio = np.diagonal(np.std(even, axis=0)) / np.diagonal(np.std(plain, axis=0))
    assert np.median(ratio) < 0.25  # 4,096 points each; measured 0.06


@pytest.mark.parametrize("name", ["relu", "tanh", "elu"])
def test_at_the_teacher_only_noise_is_left(name):
    """Any activation, with biases: C = 4 noise^2 F, which is 2 noise^2 H."""
    net = inf.Net([(3, name, True), (2, "identity", True)], input_dim=D)
    theta = inf.random_params(net, rng=1, init="standard_normal")
    neti = inf.NetI(net, inf.Teacher(net, theta, noise=0.2))
    C = inf.gradient_covariance(neti, theta)
    np.testing.assert_allclose(C, 4 * 0.04 * inf.fisher(neti, theta), rtol=1e-12)
    H = inf.hessian(neti, theta)
    np.testing.assert_allclose(C, 2 * 0.04 * H, atol=1e-9 * np.abs(H).max())
    prediction = inf.finite_data_prediction(neti, theta, 1000)
    assert prediction.loss_gap == pytest.approx(0.04 * prediction.rank / 1000, rel=1e-8)
    assert prediction.loss_gap_error == 0.0


def test_prediction_without_sampling_error():
    """An erf student that is too small, with label noise: two independent ways agree."""
    neti, theta = problem("erf", "erf", K=2, M=3)
    theta = inf.train(neti, theta, progress=False).theta
    exact = inf.finite_data_prediction(neti, theta, 100)
    sampled = inf.finite_data_prediction(neti, theta, 100, method="sampling")
    assert exact.squared_distance_error == 0.0 < sampled.squared_distance_error
    gap = abs(exact.squared_distance - sampled.squared_distance)
    assert gap < 4 * sampled.squared_distance_error
    assert sampled.squared_distance_error < 0.01 * exact.squared_distance


def test_prediction_with_frozen_parameters():
    """Hessian and covariance of the others; a result knows its eta."""
    neti, theta = problem("erf", "erf", K=2, M=3)
    eta = np.ones(neti.num_params)
    eta[-2:] = 0.0
    run = inf.train(neti, theta, eta=eta, progress=False)
    free = np.flatnonzero(eta)
    H = inf.hessian(neti, run.theta)[np.ix_(free, free)]
    C = inf.gradient_covariance(neti, run.theta)[np.ix_(free, free)]
    inverse = np.linalg.inv(H)
    found = inf.finite_data_prediction(neti, run, 100)
    assert found.rank == len(free)
    assert found.squared_distance == pytest.approx(np.trace(inverse @ C @ inverse) / 100, rel=1e-8)
    assert found.loss_gap == pytest.approx(np.trace(inverse @ C) / 200, rel=1e-8)
    for held in ({"eta": eta}, {"frozen": eta == 0.0}):
        assert inf.finite_data_prediction(neti, run.theta, 100, **held) == found
    with pytest.raises(InvalidValueError, match="give one of them"):
        inf.finite_data_prediction(neti, run.theta, 100, eta=eta, frozen=eta == 0.0)
    with pytest.raises(ShapeError, match="eta has shape"):
        inf.finite_data_prediction(neti, run.theta, 100, eta=eta[:3])
    with pytest.raises(InvalidValueError, match="all param"):
        inf.finite_data_prediction(neti, run.theta, 100, eta=0.0)


@pytest.mark.parametrize("name", ["relu", "tanh", "erf"])
@pytest.mark.parametrize("given", [None, COLOURED], ids=["standard", "coloured"])
def test_fisher(name, given):
    neti, theta = problem(name, name, O=2, outer=True, hidden=True, input=given)
    F = inf.fisher(neti, theta)
    data = neti.sample(2**15, 0, method="sobol")
    of_data = inf.fisher(data, theta)
    np.testing.assert_allclose(F, of_data, atol=5e-3 * np.abs(F).max())
    J = data.jacobian(theta)
    np.testing.assert_allclose(of_data, J.T @ J, atol=1e-12 * np.abs(F).max())


def test_fisher_of_a_classifier_and_weights():
    X = np.random.default_rng(0).standard_normal((30, 3))
    labels = (X[:, 0] > 0).astype(int)
    layers = [(4, "tanh", True), (3, "relu", True), (2, "identity", True)]
    net = inf.Net(layers, input=X, target=labels, loss="cross_entropy", weights=np.arange(1, 31.0))
    theta = inf.random_params(net, rng=0)
    shares = np.arange(1, 31.0) / 465

    def outputs(t):
        return net.predict(t, X)

    step = 1e-6
    steps = step * np.eye(len(theta))
    J = np.array([(outputs(theta + e) - outputs(theta - e)) / (2 * step) for e in steps])
    expected = np.einsum("pno,qno,n->pq", J, J, shares)
    np.testing.assert_allclose(inf.fisher(net, theta), expected, atol=1e-8)


# ------------------------------------------------------------------------ stationary distributions


def linear(noise=0.5):
    net = inf.Net([(1, "identity", False), (1, "identity", False)], input_dim=3)
    teacher = inf.Teacher(net, np.array([1.0, -2.0, 0.5, 1.0]), noise=noise)
    return inf.NetI(net, teacher), teacher.theta


def test_stationary_covariance_solves_its_equation():
    neti, theta = linear()
    H = inf.hessian(neti, theta)
    C = inf.gradient_covariance(neti, theta)
    Sigma = inf.stationary_covariance(neti, theta, 0.02, batch_size=4)
    left = H @ Sigma + Sigma @ H - 0.02 * H @ Sigma @ H
    np.testing.assert_allclose(left, 0.02 / 4 * C, atol=1e-14)
    # the scale between the layers is flat, and silent: no warning, and no part of the covariance
    flat = np.append(theta[:3], -theta[3])
    np.testing.assert_allclose(Sigma @ flat, 0.0, atol=1e-14)


def test_stationary_covariance_of_a_simulation():
    """A ridge confines all directions; steps of 1,000 independent runs."""
    neti, theta = linear()
    neti = neti.replace(ridge=0.3)
    theta = inf.train(neti, theta, progress=False).theta
    step = 0.01
    expected = inf.stationary_covariance(neti, theta, step, batch_size=2)
    rng = np.random.default_rng(0)
    runs = np.tile(theta, (2000, 1))
    star = neti.teacher.theta
    for _ in range(600):
        total = np.zeros_like(runs)
        for _ in range(2):
            x = rng.standard_normal((len(runs), 3))
            h = (runs[:, :3] * x).sum(axis=1)
            y = star[3] * x @ star[:3] + 0.5 * rng.standard_normal(len(runs))
            e = runs[:, 3] * h - y
            total[:, :3] += 2 * (e * runs[:, 3])[:, None] * x
            total[:, 3] += 2 * e * h
        runs = runs - step * (total / 2 + 0.3 * runs)
    found = np.cov(runs.T)
    # 2,000 runs: entries scatter by 3 per cent; the next order in the step size adds some more
    scale = np.sqrt(np.outer(np.diagonal(expected), np.diagonal(expected)))
    np.testing.assert_allclose(found / scale, expected / scale, atol=0.15)


def test_diffusion_along_flat_directions_is_said():
    """Soft directions, called flat: they are noisy."""
    net = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=2)
    neti = inf.NetI(net, inf.Teacher(net, [1.0, 0, 0, 1.0, 1.0, 1.0], noise=0.1))
    theta = np.array([1.0, 0, 0, 1.0, 1.0, 1.0])
    with pytest.warns(AccuracyWarning, match="diffuses"):
        inf.stationary_covariance(neti, theta, 0.01, rtol=0.3)  # calls soft directions flat


def test_noise_scale():
    neti, theta = problem("erf", "erf")
    scale = inf.gradient_noise_scale(neti, theta)
    C, g, H = (f(neti, theta) for f in (inf.gradient_covariance, inf.gradient, inf.hessian))
    assert scale.simple == pytest.approx(np.trace(C) / (g @ g), rel=1e-12)
    curvature = g @ H @ g
    expected = np.trace(H @ C) / curvature if curvature > 0 else np.inf
    assert scale.critical == pytest.approx(expected, rel=1e-12)
    data = neti.sample(2000, 0)
    assert inf.gradient_noise_scale(data, theta).simple == pytest.approx(scale.simple, rel=0.3)
    neti, theta = linear()
    assert inf.gradient_noise_scale(neti, theta).simple > 1e15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"f": "elu", "g": "erf"}, "closed forms of fourth moments need"),
        ({"f": "relu", "g": "erf", "input": inf.Gaussian(np.ones(D), np.eye(D))}, "mean"),
        (
            {
                "f": "relu",
                "g": "erf",
                "input": inf.GaussianMixture([0.5, 0.5], np.zeros((2, D)), np.ones((2, D))),
            },
            "mixture",
        ),
    ],
)
def test_what_is_not_exact_says_why(options, message):
    neti, theta = problem(**options)
    with pytest.raises(MethodError, match=message):
        inf.gradient_covariance(neti, theta, method="exact")


def test_what_else_is_not_exact():
    neti, theta = problem("relu", "relu")
    weights = neti.student.unpack(theta)[0][0]
    weights[1] = weights[0] * 2 + 1e-5
    with pytest.raises(MethodError, match="linearly dependent"):
        inf.gradient_covariance(neti, theta, method="exact")
    assert np.isfinite(inf.gradient_covariance(neti, theta)).all()
    polynomial = neti.replace(teacher=inf.PolynomialTeacher({(3,): 1.0}, np.eye(1, D), noise=0.1))
    with pytest.raises(MethodError, match="no network"):
        inf.gradient_covariance(polynomial, theta, method="exact")
    data = [inf.gradient_covariance(polynomial.sample(20_000, k), theta) for k in range(20)]
    C = inf.gradient_covariance(polynomial, theta)
    error = np.std(data, axis=0, ddof=1) / np.sqrt(20)
    assert (np.abs(C - np.mean(data, axis=0)) < 5 * error).all()


def test_bad_arguments():
    neti, theta = linear()
    with pytest.raises(InvalidValueError, match=r"less than 0\.1"):
        inf.stationary_covariance(neti, theta, 1.0)
    with pytest.raises(InvalidValueError, match="not a minimum"):
        inf.stationary_covariance(neti, [0.1, 0.0, 0.0, -0.1], 0.01)
    for step in (0.0, -1.0, np.nan):
        with pytest.raises(InvalidValueError, match="step_size"):
            inf.stationary_covariance(neti, theta, step)
    with pytest.raises(InvalidValueError, match="batch_size"):
        inf.stationary_covariance(neti, theta, 0.01, 0)
    with pytest.raises(InvalidValueError, match="method"):
        inf.gradient_covariance(neti, theta, method="closed form")
    for function in (inf.fisher, inf.gradient_noise_scale):
        with pytest.raises(InvalidTypeError, match="NetI"):
            function("net", theta)
        with pytest.raises(ShapeError):
            function(neti, theta[:2])
