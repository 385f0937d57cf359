"""Names with parameters, named sums and functions, functions of libraries: each against its formula
with 30 digits, with the integrals that its kind promises.
"""

from __future__ import annotations

import math
import pickle
import sys
import types
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
import scipy.special
from typer.testing import CliRunner

import infflow as inf
from infflow.activations import FAMILIES, REGISTRY, all_names, resolve
from infflow.activations.naming import NAMED
from infflow.cli import app

POINTS = (-31.7, -7.3, -3.0, -2.9, -1.2, -0.31, -1e-3, 1e-3, 0.4, 0.97, 1.1, 2.9, 3.2, 6.1, 17.0)


def clip(x, low, high):
    return mp.mpf(min(max(x, low), high))


#: name, function, whether pairs with itself are closed
FUNCTIONS = {
    "leaky_relu(0.2)": (lambda x: max(x, x / 5), True),
    "leaky_relu(slope=-0.5)": (lambda x: x if x > 0 else -x / 2, True),
    "elu(0.5)": (lambda x: x if x > 0 else mp.expm1(x) / 2, True),
    "celu(2)": (lambda x: x if x > 0 else 2 * mp.expm1(x / 2), True),
    "celu": (lambda x: x if x > 0 else mp.expm1(x), True),
    "softplus(beta=2)": (lambda x: mp.log1p(mp.exp(2 * x)) / 2, True),
    "silu(2)": (lambda x: x / (1 + mp.exp(-2 * x)), True),
    "tanh(2)": (lambda x: mp.tanh(2 * x), True),
    "tanh(-0.5)": (lambda x: -mp.tanh(x / 2), True),
    "erf(1.4142135623730951)": (
        lambda x: mp.erf(mp.mpf(1.4142135623730951) * x / mp.sqrt(2)),
        True,
    ),
    "sigmoid(3)": (lambda x: 1 / (1 + mp.exp(-3 * x)), True),
    "normal_cdf(2)": (lambda x: mp.ncdf(2 * x), True),
    "sin(2)": (lambda x: mp.sin(2 * x), True),
    "cos(0.5)": (lambda x: mp.cos(x / 2), True),
    "exp(-0.5)": (lambda x: mp.exp(-x / 2), True),
    "gaussian(2)": (lambda x: mp.exp(-2 * x * x), True),
    "arctan(2)": (lambda x: mp.atan(2 * x), False),
    "relu_power(0)": (lambda x: mp.mpf(x > 0), True),
    "relu_power(1)": (lambda x: max(x, mp.mpf(0)), True),
    "relu_power(2)": (lambda x: max(x, mp.mpf(0)) ** 2, True),
    "relu_power(5)": (lambda x: max(x, mp.mpf(0)) ** 5, True),
    "hermite(0)": (lambda x: mp.mpf(1), True),
    "hermite(3)": (lambda x: (x**3 - 3 * x) / mp.sqrt(6), True),
    "hermite(6)": (lambda x: (x**6 - 15 * x**4 + 45 * x**2 - 15) / mp.sqrt(720), True),
    "hard_tanh": (lambda x: clip(x, -1, 1), True),
    "relu6": (lambda x: clip(x, 0, 6), True),
    "hard_sigmoid": (lambda x: clip(x + 3, 0, 6) / 6, True),
    "hard_swish": (lambda x: x * clip(x + 3, 0, 6) / 6, True),
    "mish": (lambda x: x * mp.tanh(mp.log1p(mp.exp(x))), False),
    "arctan": (mp.atan, False),
    "softsign": (lambda x: x / (1 + abs(x)), False),
    "log_cosh": (lambda x: mp.log(mp.cosh(x)), True),
}


def test_all_are_listed():
    tried = {name.partition("(")[0] for name in FUNCTIONS}
    assert tried == {*FAMILIES, *NAMED} - ({*REGISTRY} - {*FAMILIES})
    assert set(all_names()) == {*NAMED, "celu"}
    assert all(resolve(name).name == name for name in NAMED)


def test_pages_and_commands_know_all_names():
    """The how-to has them, and the command line takes them."""
    page = (Path(__file__).parents[1] / "docs" / "howto" / "activation.md").read_text()
    for name in {*FAMILIES, *NAMED} - ({*REGISTRY} - {*FAMILIES}):
        assert f"`{name}`" in page
    for name in set(NAMED) - set(REGISTRY):
        arguments = ["integral", name, "relu", "--r1", "1", "--r2", "1", "--u", "0.5"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0 and "nan" not in done.output


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_derivatives(name):
    """To rounding; of piecewise functions between their kinks."""
    f = resolve(name)
    function = FUNCTIONS[name][0]
    with mp.workdps(60):
        for x in POINTS:
            if any(abs(x - kink) < 1e-6 for kink in f.kinks):
                assert float(f(x)) == pytest.approx(
                    float(function(mp.mpf(x))), rel=1e-13, abs=1e-14
                )
                continue
            for order in range(5):
                expected = float(mp.diff(function, mp.mpf(x), order))
                found = float(f.derivative(x, order))
                size = max(abs(expected), abs(float(f(x))) * 0.01 ** (order > 0))
                assert found == pytest.approx(expected, rel=3e-13, abs=1e-13 * size + 1e-300), (
                    x,
                    order,
                )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_name_expression_and_pickle(name):
    f = resolve(name)
    assert resolve(f.name) is f
    assert pickle.loads(pickle.dumps(f)) is f
    symbol = next(iter(f.expression.free_symbols), None)
    for x in (-2.3, 0.7, 4.1):
        value = f.expression if symbol is None else f.expression.subs(symbol, x)
        assert float(value) == pytest.approx(float(FUNCTIONS[name][0](mp.mpf(x))), rel=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_methods(name):
    f = resolve(name)
    closed = FUNCTIONS[name][1]
    assert ("closed" in inf.available_methods(f, f)) == closed
    if name.startswith(("relu_power(0", "exp")):
        return
    point = (1.1, 0.9, 0.6, 0.2, -0.4)
    method = "closed" if closed else "auto"
    found = inf.gaussian_moment(f, f, *point, method=method, full_output=True)
    exact = inf.gaussian_moment(f, f, *point, method="cubature", rtol=1e-9, full_output=True)
    assert abs(found.value - exact.value) <= found.error_bound + exact.error_bound


def test_kinks_and_parity():
    assert resolve("hard_tanh").kinks == (-1.0, 1.0) and resolve("hard_tanh").parity == -1
    assert resolve("relu6").kinks == (0.0, 6.0) and resolve("hard_swish").kinks == (-3.0, 3.0)
    assert resolve("leaky_relu(0.2)").homogeneous and resolve("log_cosh").parity == 1
    assert resolve("softsign").kinks == (0.0,) and not resolve("softsign").has_corners
    assert resolve("tanh(1)") is resolve("tanh") and resolve("sigmoid2(1)") is resolve("erf")
    assert resolve(" leaky_relu( slope = 2e-1 ) ") is resolve("leaky_relu(0.2)")


WRONG = {
    "leaky_relu(a)": "needs a number as its slope",
    "leaky_relu(inf)": "needs a number",
    "leaky_relu(1, 2)": "needs a number",
    "leaky_relu(alpha=2)": "takes 'slope' alone",
    "tanh(0)": "other than 0",
    "tanh(1j)": "other than 0",
    "tanh(__import__('os'))": "other than 0",
    "hermite(-1)": "integer from 0 to 20",
    "hermite(2.5)": "integer from 0 to 20",
    "hermite": "as its degree, as in",
    "relu_power(9)": "integer from 0 to 5",
    "relu_power()": "as its power, as in",
    "celu(-1)": "positive number",
    "softplus(0)": "positive number",
    "relu(2)": "takes none",
    "hard_tanh(2)": "takes none",
    "foo(2)": "not known",
    "leaky(0.2)": "not known",
    "leaky_relu(0.2": "not known",
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_names(name):
    with pytest.raises(inf.InfflowError, match=WRONG[name]):
        inf.activation(name)
    with pytest.raises(inf.InfflowError, match=WRONG[name]):
        inf.Net([(2, name, True), (1, "identity", False)], input_dim=2)


# -- functions of libraries


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (np.tanh, "tanh"),
        (np.sin, "sin"),
        (np.cos, "cos"),
        (np.exp, "exp"),
        (np.abs, "abs"),
        (np.fabs, "abs"),
        (np.sign, "sign"),
        (np.arctan, "arctan"),
        (np.positive, "identity"),
        (math.tanh, "tanh"),
        (scipy.special.expit, "sigmoid"),
        (scipy.special.ndtr, "normal_cdf"),
    ],
)
def test_functions_that_are_names(function, name):
    assert inf.activation(function) is resolve(name)


@pytest.mark.parametrize(
    "function",
    [np.negative, np.square, scipy.special.erf, scipy.special.erfc, scipy.special.log_expit],
)
def test_functions_of_arrays(function):
    x = np.linspace(-4, 4, 33) + 0.001
    f = inf.activation(function)
    assert np.allclose(f(x), function(x), rtol=1e-14, atol=1e-15)
    assert "closed" in inf.available_methods(f, f)


def test_layers_take_functions():
    net = inf.Net([(2, [np.tanh, scipy.special.erf], True), (1, "identity", False)], input_dim=2)
    assert [f.name for f in net.layers[0].activations] == ["tanh", "erf(1.4142135623730951*x)"]


@pytest.fixture
def fake_torch(monkeypatch):
    """Modules with the names of PyTorch; objects of what is loaded are compared."""
    torch, nn, functional = (types.ModuleType(n) for n in ("torch", "torch.nn", "functional"))
    for name in ("tanh", "relu", "erf", "atan"):
        setattr(torch, name, lambda x: x)
    for name in ("relu", "leaky_relu", "hardtanh", "hardswish", "logsigmoid", "mish", "glu"):
        setattr(functional, name, lambda x: x)
    for name in ("ReLU", "LeakyReLU", "CELU", "Softplus", "Hardtanh", "GELU", "Bilinear"):
        setattr(nn, name, type(name, (), {}))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch.nn", nn)
    monkeypatch.setitem(sys.modules, "torch.nn.functional", functional)
    return torch, nn, functional


def test_functions_of_torch(fake_torch):
    torch, _, functional = fake_torch
    assert inf.activation(torch.tanh) is resolve("tanh")
    assert inf.activation(torch.erf) is inf.activation(scipy.special.erf)
    assert inf.activation(functional.hardswish) is resolve("hard_swish")
    assert inf.activation(functional.leaky_relu) is resolve("leaky_relu")
    assert float(inf.activation(functional.logsigmoid)(0.3)) == pytest.approx(
        -math.log1p(math.exp(-0.3)), rel=1e-14
    )
    with pytest.raises(inf.InfflowError, match="from_callable"):
        inf.activation(functional.glu)


def test_modules_of_torch(fake_torch):
    nn = fake_torch[1]

    def module(kind, **attributes):
        found = getattr(nn, kind)()
        vars(found).update(attributes)
        return found

    assert inf.activation(module("ReLU")) is resolve("relu")
    assert inf.activation(module("LeakyReLU", negative_slope=0.2)) is resolve("leaky_relu(0.2)")
    assert inf.activation(module("CELU", alpha=2.0)) is resolve("celu(2)")
    assert inf.activation(module("Softplus", beta=2, threshold=20)) is resolve("softplus(2)")
    assert inf.activation(module("Hardtanh", min_val=-1.0, max_val=1.0)) is resolve("hard_tanh")
    clipped = inf.activation(module("Hardtanh", min_val=-0.5, max_val=2.0))
    x = np.linspace(-3, 3, 25)
    assert np.allclose(clipped(x), np.clip(x, -0.5, 2.0), atol=1e-15)
    assert inf.activation(module("GELU", approximate="none")) is resolve("gelu")
    for kind, attributes in (("GELU", {"approximate": "tanh"}), ("Bilinear", {})):
        with pytest.raises(inf.InfflowError):
            inf.activation(module(kind, **attributes))


@pytest.mark.parametrize("wrong", [lambda x: x, np.maximum, 3, None, ["tanh"]])
def test_what_is_not_known(wrong):
    with pytest.raises(inf.InfflowError, match="from_callable"):
        inf.activation(wrong)


def test_configuration_files(tmp_path):
    from infflow.cli.files.checks import activation

    assert activation("hidden", "leaky_relu(0.2)") == ["leaky_relu(0.2)"]
    with pytest.raises(inf.InfflowError, match="slope"):
        activation("hidden", "leaky_relu(a)")
