"""The exact loss inside JAX and PyTorch, where they are installed: against infflow's own
derivatives.
"""

import numpy as np
import pytest

import infflow as inf
from infflow.errors import InfflowError

NET = inf.Net([(3, "erf", True), (1, "identity", True)], input_dim=2)
TEACHER = inf.Teacher(NET, inf.random_params(NET, rng=1))
NETI = inf.NetI(NET, TEACHER)
FINITE = NETI.sample(20, rng=0)
THETA = inf.random_params(NET, rng=2)
BOTH = pytest.mark.parametrize("net", [NETI, FINITE], ids=["NetI", "Net"])


@pytest.fixture
def jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    return jax


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@BOTH
def test_jax(jax, net):
    loss = inf.jax_loss(net)
    theta = jax.numpy.array(THETA)
    g = inf.gradient(net, THETA)
    H = inf.hessian(net, THETA)
    v = np.random.default_rng(0).standard_normal(len(THETA))
    assert abs(loss(theta) - inf.loss(net, THETA)) < 1e-14
    assert abs(jax.jit(loss)(theta) - inf.loss(net, THETA)) < 1e-14
    np.testing.assert_allclose(jax.grad(loss)(theta), g, atol=1e-14)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(theta), g, atol=1e-14)
    np.testing.assert_allclose(jax.hessian(loss)(theta), H, atol=1e-13)
    np.testing.assert_allclose(jax.jit(jax.hessian(loss))(theta), H, atol=1e-13)
    np.testing.assert_allclose(jax.jacrev(jax.grad(loss))(theta), H, atol=1e-13)
    product = jax.jvp(jax.grad(loss), (theta,), (jax.numpy.array(v),))[1]
    np.testing.assert_allclose(product, H @ v, atol=1e-13)
    many = jax.numpy.stack([theta, 2 * theta])
    np.testing.assert_allclose(jax.vmap(loss)(many)[1], inf.loss(net, 2 * THETA), rtol=1e-13)
    slopes = jax.vmap(jax.grad(loss))(many)
    np.testing.assert_allclose(slopes[1], inf.gradient(net, 2 * THETA), atol=1e-13)
    scaled = lambda theta: jax.numpy.exp(loss(theta**2))  # noqa: E731
    step = 1e-6 * np.eye(len(THETA))[0]
    difference = (scaled(theta + step) - scaled(theta - step)) / 2e-6
    assert abs(jax.grad(scaled)(theta)[0] - difference) < 1e-7


def test_jax_in_the_teacher(jax):
    loss = inf.jax_loss(NETI, teacher=True)
    theta = jax.numpy.array(THETA)
    teacher = jax.numpy.array(TEACHER.theta)
    found = jax.grad(loss, argnums=1)(theta, teacher)
    np.testing.assert_allclose(found, inf.gradient(NETI, THETA, wrt="teacher"), atol=1e-14)
    mixed = jax.jacfwd(jax.grad(loss), argnums=1)(theta, teacher)
    np.testing.assert_allclose(mixed, inf.mixed_hessian(NETI, THETA), atol=1e-13)


def test_jax_float32_and_errors(jax):
    loss = inf.jax_loss(NETI)
    theta = jax.numpy.array(THETA, dtype="float32")
    assert jax.grad(loss)(theta).dtype == "float32"
    assert abs(loss(theta) - inf.loss(NETI, THETA)) < 1e-5
    with pytest.raises(InfflowError, match="shape"):
        loss(theta[1:])
    with pytest.raises(InfflowError, match="not three times"):
        jax.jacfwd(jax.hessian(loss))(theta)
    with pytest.raises(InfflowError, match="no teacher"):
        inf.jax_loss(FINITE, teacher=True)


@BOTH
def test_torch(torch, net):
    loss = inf.torch_loss(net)
    theta = torch.tensor(THETA, requires_grad=True)
    value = loss(theta)
    value.backward()
    assert abs(value.item() - inf.loss(net, THETA)) < 1e-14
    np.testing.assert_allclose(theta.grad, inf.gradient(net, THETA), atol=1e-14)
    H = torch.autograd.functional.hessian(loss, torch.tensor(THETA))
    np.testing.assert_allclose(H, inf.hessian(net, THETA), atol=1e-13)
    v = torch.tensor(np.random.default_rng(0).standard_normal(len(THETA)))
    for product in (torch.autograd.functional.vhp, torch.autograd.functional.hvp):
        found = product(loss, torch.tensor(THETA), v)[1]
        np.testing.assert_allclose(found, inf.hessian(net, THETA) @ v.numpy(), atol=1e-13)
    third = lambda theta: torch.autograd.functional.vhp(loss, theta, v, create_graph=True)[1] @ v  # noqa: E731
    (slope,) = torch.autograd.grad(third(theta), theta)
    step = 1e-5 * np.eye(len(THETA))[0]
    up, down = (v.numpy() @ inf.hvp(net, THETA + s * step, v.numpy()) for s in (1, -1))
    assert abs(slope[0] - (up - down) / 2e-5) < 1e-5
    single = torch.tensor(THETA, dtype=torch.float32, requires_grad=True)
    (g,) = torch.autograd.grad(loss(single), single)
    assert g.dtype == torch.float32


def test_torch_optimiser_reaches_the_teacher(torch):
    loss = inf.torch_loss(NETI)
    theta = torch.tensor(TEACHER.theta + 0.05, requires_grad=True)
    options = {"tolerance_grad": 1e-12, "tolerance_change": 0.0}
    optimiser = torch.optim.LBFGS([theta], max_iter=500, line_search_fn="strong_wolfe", **options)

    def closure():
        optimiser.zero_grad()
        value = loss(theta)
        value.backward()
        return value

    optimiser.step(closure)
    assert loss(theta).item() < 1e-8


def test_torch_in_the_teacher(torch):
    loss = inf.torch_loss(NETI, teacher=True)
    theta = torch.tensor(THETA, requires_grad=True)
    teacher = torch.tensor(TEACHER.theta, requires_grad=True)
    g, slope = torch.autograd.grad(loss(theta, teacher), (theta, teacher), create_graph=True)
    np.testing.assert_allclose(slope.detach(), inf.gradient(NETI, THETA, wrt="teacher"), atol=1e-14)
    (row,) = torch.autograd.grad(g[0], teacher)
    np.testing.assert_allclose(row, inf.mixed_hessian(NETI, THETA)[0], atol=1e-13)
    with pytest.raises(InfflowError, match="shape"):
        loss(theta[1:], teacher)


def test_without_either(monkeypatch):
    import sys

    for name, function in (("jax", inf.jax_loss), ("torch", inf.torch_loss)):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(InfflowError, match=rf"pip install 'infflow\[{name}\]'"):
            function(NETI)
