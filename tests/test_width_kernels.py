"""Kernels of infinite width against closed forms in high precision, nested quadrature, random
networks, and differences; fixed points of mean-field theory.
"""

import math

import mpmath
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel

import infflow as inf
from infflow.errors import InfflowError

SMOOTH = ("tanh", "gelu", "softplus", "sin", "erf")
KERNELS = (inf.nngp_kernel, inf.ntk_kernel)


def arccosine(u, V1, V2):
    """E[f f] and E[f' f'] of relu."""
    angle = mpmath.acos(max(min(u, mpmath.mpf(1)), mpmath.mpf(-1)))
    inside = (mpmath.pi - angle) / (2 * mpmath.pi)
    size = mpmath.sqrt(V1 * V2)
    return size * (mpmath.sin(angle) / (2 * mpmath.pi) + inside * u), inside


def arcsine(u, V1, V2):
    """E[f f] and E[f' f'] of erf(x / sqrt 2)."""
    C = u * mpmath.sqrt(V1 * V2)
    N = 2 / mpmath.pi * mpmath.asin(C / mpmath.sqrt((1 + V1) * (1 + V2)))
    return N, 2 / mpmath.pi / mpmath.sqrt((1 + V1) * (1 + V2) - C**2)


def sine(u, V1, V2):
    """E[f f] and E[f' f'] of sin."""
    C = u * mpmath.sqrt(V1 * V2)
    size = mpmath.exp(-(V1 + V2) / 2)
    return size * mpmath.sinh(C), size * mpmath.cosh(C)


def reference(forms, x, y, weight_std, bias_std):
    """Both kernels with 60 digits."""
    with mpmath.workdps(60):
        x = [mpmath.mpf(float(t)) for t in x]
        y = [mpmath.mpf(float(t)) for t in y]
        w = mpmath.mpf(weight_std) ** 2
        b = mpmath.mpf(bias_std) ** 2
        V1, V2, K = (w * mpmath.fdot(p, q) / len(x) + b for p, q in ((x, x), (y, y), (x, y)))
        theta = K
        for form in forms:
            N, M = form(K / mpmath.sqrt(V1 * V2), V1, V2)
            V1 = w * form(mpmath.mpf(1), V1, V1)[0] + b
            V2 = w * form(mpmath.mpf(1), V2, V2)[0] + b
            K = w * N + b
            theta = K + w * M * theta
        return float(K), float(theta)


@pytest.mark.parametrize("weight_std, bias_std", [(1.0, 0.0), (1.4, 0.3), (12.0, 0.5)])
@pytest.mark.parametrize("factor", [1.0, -1.0, 2.0, -0.5])
def test_closed_forms_at_all_distances(factor, weight_std, bias_std):
    """Equal, opposite and parallel inputs, and 1e-16 to 1 away from them: relative errors."""
    rng = np.random.default_rng(7)
    layers = (["relu"] * 3, ["erf", "relu"], ["erf"], ["sin", "relu"])
    forms = ([arccosine] * 3, [arcsine, arccosine], [arcsine], [sine, arccosine])
    for distance in (0.0, *10.0 ** np.arange(-16, 1)):
        x = rng.standard_normal(4)
        y = factor * x + distance * rng.standard_normal(4)
        for names, form in zip(layers, forms, strict=True):
            exact = reference(form, x, y, weight_std, bias_std)
            scale = weight_std**2 + bias_std**2
            for kernel, value in zip(KERNELS, exact, strict=True):
                found = kernel(names, [x], [y], weight_std, bias_std)[0, 0]
                assert abs(found - value) <= 3e-12 * abs(value) + 3e-14 * scale, (names, distance)


def nested(f, x, y, weight_std, bias_std, layers):
    """Both kernels by the trapezoidal rule on a square, which converges exponentially."""
    z = np.linspace(-9, 9, 241)
    weights = np.exp(-z * z / 2)
    weights = weights / weights.sum()
    w = weight_std**2
    b = bias_std**2
    V1, V2, K = (w * np.dot(p, q) / len(x) + b for p, q in ((x, x), (y, y), (x, y)))
    theta = K
    value = registered(f)
    slope = value.derivative
    for _ in range(layers):
        r1 = math.sqrt(V1)
        r2 = math.sqrt(V2)
        u = K / (r1 * r2)
        h1 = r1 * z[:, None] + 0 * z
        h2 = r2 * (u * z[:, None] + math.sqrt(max(0.0, 1 - u * u)) * z)
        N = weights @ (value(h1) * value(h2)) @ weights
        M = weights @ (slope(h1) * slope(h2)) @ weights
        V1 = w * weights @ value(r1 * z) ** 2 + b
        V2 = w * weights @ value(r2 * z) ** 2 + b
        K = w * N + b
        theta = K + w * M * theta
    return K, theta


def registered(name):
    from infflow.activations import resolve

    return resolve(name)


@pytest.mark.parametrize("name", SMOOTH)
def test_nested_quadrature(name):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((3, 5))
    X[1] = X[0]
    for kernel, part in zip(KERNELS, (0, 1), strict=True):
        found = kernel([name, name], X, weight_std=1.2, bias_std=0.3)
        exact = [[nested(name, x, y, 1.2, 0.3, 2)[part] for y in X] for x in X]
        np.testing.assert_allclose(found, exact, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", [*SMOOTH, "relu", "elu", "abs"])
def test_gradients_are_those_of_differences(name, kernel):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((4, 3))
    X[1] = X[0]
    Y = np.concatenate([rng.standard_normal((2, 3)), 0.5 * rng.standard_normal((1, 3))])
    found = kernel([name, name], X, Y, 1.3, 0.2, gradient=True)
    step = 1e-5
    for d in range(3):
        shift = step * np.eye(3)[d]
        up, down = (kernel([name, name], X + s * shift, Y, 1.3, 0.2) for s in (1, -1))
        np.testing.assert_allclose(found.gradient[..., d], (up - down) / (2 * step), atol=5e-9)


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_gradients_at_equal_inputs(name):
    """Finite, and the mean of both sides: neural-tangents returns NaN there."""
    X = np.array([[0.3, -1.0, 0.7], [0.3, -1.0, 0.7], [-0.3, 1.0, -0.7]])
    found = inf.ntk_kernel([name, name], X, None, 1.1, 0.2, gradient=True)
    assert np.isfinite(found.gradient).all()
    step = 1e-4
    for d in range(3):
        shift = step * np.eye(3)[d]
        up = inf.ntk_kernel([name, name], X + shift, X, 1.1, 0.2)
        down = inf.ntk_kernel([name, name], X - shift, X, 1.1, 0.2)
        np.testing.assert_allclose(found.gradient[..., d], (up - down) / (2 * step), atol=2e-5)


def test_random_networks_tend_to_the_kernels():
    """Covariance of outputs and inner products of gradients of 400 networks of width 300."""
    rng = np.random.default_rng(11)
    X = rng.standard_normal((3, 4))
    width = 300
    outputs = []
    tangents = []
    f = registered("tanh")
    for _ in range(400):
        W = rng.standard_normal((width, 4))
        v = rng.standard_normal(width)
        h = 1.3 * X @ W.T / 2
        outputs.append(1.3 * f(h) @ v / math.sqrt(width))
        by_v = 1.3 * f(h) / math.sqrt(width)
        by_h = 1.3 * f.derivative(h) * v / math.sqrt(width)
        tangents.append(by_v @ by_v.T + (by_h @ by_h.T) * (1.3**2 * X @ X.T / 4))
    K = inf.nngp_kernel("tanh", X, weight_std=1.3)
    theta = inf.ntk_kernel("tanh", X, weight_std=1.3)
    products = np.einsum("ni,nj->nij", outputs, outputs)
    for samples, exact in ((products, K), (np.array(tangents), theta)):
        error = samples.std(axis=0) / math.sqrt(len(samples))
        assert (np.abs(samples.mean(axis=0) - exact) < 4.5 * error).all()


def test_blocks_layers_and_deviations():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((250, 2))
    K = inf.nngp_kernel(["erf", "relu"], X, bias_std=0.2)
    assert (K == K.T).all() and np.linalg.eigvalsh(K).min() > -1e-12
    np.testing.assert_allclose(
        K[200:, :5], inf.nngp_kernel(["erf", "relu"], X[200:], X[:5], 1, 0.2)
    )
    whole = inf.ntk_kernel(["erf"], X[:4], None, [1.2, 0.7], [0.3, 0.1])
    first = inf.nngp_kernel([], X[:4], None, 1.2, 0.3)
    assert np.allclose(first, 1.44 * X[:4] @ X[:4].T / 2 + 0.09, rtol=1e-14)
    r = np.sqrt(np.diag(first))
    u = np.clip(first / np.outer(r, r), -1, 1)
    N, M = (inf.gaussian_moment("erf", "erf", r[:, None], r, u, orders=o) for o in ((0, 0), (1, 1)))
    np.testing.assert_allclose(whole, 0.49 * N + 0.01 + 0.49 * M * first, rtol=1e-12)


@pytest.mark.parametrize("name", ["NNGPKernel", "NTKKernel"])
def test_kernels_for_scikit_learn(name):
    rng = np.random.default_rng(4)
    X = rng.standard_normal((20, 3))
    kernel = getattr(inf.sklearn, name)(["erf", "relu"], 1.2, 0.3)
    value, gradient = kernel(X, eval_gradient=True)
    np.testing.assert_allclose(kernel.diag(X), np.diag(kernel(X)), rtol=1e-14)
    np.testing.assert_allclose(value, kernel(X), rtol=1e-14)
    step = 1e-4
    for d in range(2):
        shift = step * np.eye(2)[d]
        up, down = (kernel.clone_with_theta(kernel.theta + s * shift)(X) for s in (1, -1))
        np.testing.assert_allclose(gradient[..., d], (up - down) / (2 * step), rtol=1e-6)
    model = GaussianProcessRegressor(ConstantKernel() * kernel, alpha=1e-4)
    assert model.fit(X, np.sin(X[:, 0])).score(X, np.sin(X[:, 0])) > 0.99
    fixed = getattr(inf.sklearn, name)(["tanh"])
    assert fixed.theta.shape == (1,) and len(fixed.bounds) == 1
    assert GaussianProcessRegressor(fixed).fit(X, X[:, 0]).kernel_.bias_std == 0.0
    with pytest.raises(InfflowError, match="Y=None"):
        kernel(X, X, eval_gradient=True)


def test_names_of_hyperparameters_for_scikit_learn():
    """scikit-learn names those that end at a bound by their place in theta."""
    kernel = inf.sklearn.NNGPKernel(["erf"], weight_std=2.0, bias_std=0.3)
    names = [each.name for each in kernel.hyperparameters]
    values = [getattr(kernel, name) for name in names]
    np.testing.assert_allclose(kernel.theta, np.log(values), rtol=1e-15)
    bounds = np.vstack([np.log(each.bounds) for each in kernel.hyperparameters])
    np.testing.assert_array_equal(kernel.bounds, bounds)


def test_mean_field_of_known_cases():
    critical = inf.mean_field("relu", math.sqrt(2.0))
    assert critical.variance == 1.0 and abs(critical.chi - 1) < 1e-14
    ordered = inf.mean_field("relu", 1.0, 0.1)
    assert abs(ordered.variance - 0.02) < 1e-14 and ordered.correlation == 1.0
    assert abs(ordered.correlation_depth - 1 / math.log(2)) < 1e-7
    assert inf.mean_field("relu", 2.0).variance == math.inf
    assert inf.mean_field("tanh", 0.5).variance == 0.0
    q, c, chi, _, depth = inf.mean_field("erf", 2.0, 0.3)
    # erf: q = w 2/pi asin(q/(1+q)) + b
    assert abs(4 * 2 / math.pi * math.asin(q / (1 + q)) + 0.09 - q) < 1e-13
    assert abs(chi - 4 * 2 / math.pi / math.sqrt(1 + 2 * q)) < 1e-13
    X = np.array([[1.0, 0.0], [0.0, 1.0]])
    K = inf.nngp_kernel(["erf"] * 60, X, weight_std=2.0, bias_std=0.3)
    near = inf.nngp_kernel(["erf"] * 61, X, weight_std=2.0, bias_std=0.3)
    assert abs(K[0, 0] - q) < 1e-12 and abs(K[0, 1] / q - c) < 5e-3
    ratio = (near[0, 1] / q - c) / (K[0, 1] / q - c)
    assert abs(-1 / math.log(ratio) - depth) < 0.05 * depth
    jump = inf.mean_field("sign", 1.0, 0.2)
    assert jump.chi == math.inf and 0 < jump.correlation < 1


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: inf.nngp_kernel(["relu"], [1.0, 2.0]), "reshape"),
        (lambda: inf.nngp_kernel(["relu"], [[1.0]], [[1.0, 2.0]]), "1 column and Y 2"),
        (lambda: inf.nngp_kernel(["relu"], [[1.0]], weight_std=0.0), "weight_std"),
        (lambda: inf.nngp_kernel(["relu"], [[1.0]], weight_std=[1.0] * 3), "2 are needed"),
        (lambda: inf.ntk_kernel(["relu"], [[1.0]], bias_std=-1.0), "bias_std"),
        (lambda: inf.ntk_kernel(["rleu"], [[1.0]]), "relu"),
        (lambda: inf.ntk_kernel(["step"], [[1.0]]), "infinite"),
        (lambda: inf.ntk_kernel(["relu"], np.ones((10**8, 1))), "available"),
        (lambda: inf.mean_field("tanh", -1.0), "weight_std"),
        (lambda: inf.mean_field("tanh", 1.0, start=0.0), "start"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InfflowError, match=message):
        call()
