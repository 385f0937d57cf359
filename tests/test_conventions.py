"""Every factor of inf.conventions, against the formula of its source."""

import math

import numpy as np
import pytest
from scipy.special import erf

import infflow as inf
from infflow.errors import InfflowError
from infflow.exchange.conventions import (
    CONVENTIONS,
    from_,
    from_weight_matrices,
    to,
    to_weight_matrices,
)
from infflow.objective import Evaluation

D = 7
K = 3
M = 2
SIZES = {"input_dim": D, "num_samples": 40, "width": K}


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(0)


def committee(K, activation="erf"):
    return inf.Net([(K, activation, False), (1, "identity", False)], input_dim=D)


# --------------------------------------------------------------------------------------------------
# whole table


@pytest.mark.parametrize("name", CONVENTIONS)
def test_from_inverts_to(name, rng):
    for quantity, rule in CONVENTIONS[name].quantities.items():
        sizes = {size: SIZES[size] for size in rule.needs}
        value = rng.normal(size=(2, 3))
        np.testing.assert_allclose(
            from_(name, quantity, to(name, quantity, value, **sizes), **sizes), value, rtol=1e-15
        )
        assert isinstance(to(name, quantity, 1.5, **sizes), float)


#: every quantity has a test below; a new one has to be added here, with its test
PINNED = {
    "mlpgradientflow": {"weights", "output_weights", "loss", "flow_loss", "time", "eta"},
    "saad_solla": {
        "weights",
        "output_weights",
        "overlaps",
        "time",
        "noise",
        "loss",
        "learning_rate",
        "second_layer_rate",
    },
    "goldt": {
        "weights",
        "output_weights",
        "overlaps",
        "time",
        "noise",
        "loss",
        "learning_rate",
        "second_layer_rate",
    },
    "mean_field": {"weights", "output_weights", "loss", "eta", "second_layer_eta"},
    "plain_erf": {"weights"},
}


def test_all_are_pinned():
    assert {name: set(convention.quantities) for name, convention in CONVENTIONS.items()} == PINNED


# ------------------------------------------------------------------------------------- Saad and
# Solla, Goldt et al.


def step_here(W, v, x, label, first, second):
    """One step of online gradient descent as OrderParameters defines it."""
    net = inf.Net([(K, "erf", False), (1, "identity", False)], input=x[None], target=[label])
    gW, gv = (g for g, _ in net.unpack(inf.gradient(net, net.pack([(W, None), (v[None], None)]))))
    return W - first / D * gW, v - second / D * gv[0]


def step_of_goldt(w, v, x, label, eta, eta_v):
    """Their update for erf neurons: pre-activations w.x/sqrt(D), half of the squared error."""
    local = w @ x / math.sqrt(D)
    delta = v @ erf(local / math.sqrt(2)) - label
    slope = math.sqrt(2 / math.pi) * np.exp(-(local**2) / 2)
    return w - eta / math.sqrt(D) * (v * slope * delta)[:, None] * x, v - eta_v / D * erf(
        local / math.sqrt(2)
    ) * delta


def step_of_saad_solla(J, x, label, eta):
    """Their update: output weights one, pre-activations J.x, half of the squared error."""
    local = J @ x
    delta = label - erf(local / math.sqrt(2)).sum()
    slope = math.sqrt(2 / math.pi) * np.exp(-(local**2) / 2)
    return J + eta / D * (slope * delta)[:, None] * x


def test_a_step_of_goldt(rng):
    """Weights, output weights and both rates; the steps per unit of time are D in both."""
    w = rng.normal(size=(K, D))
    v = rng.normal(size=K)
    x = rng.normal(size=D)
    label = 0.3
    eta = 0.4
    eta_v = 0.7
    W, second = step_here(
        from_("goldt", "weights", w, input_dim=D),
        from_("goldt", "output_weights", v),
        x,
        label,
        from_("goldt", "learning_rate", eta),
        from_("goldt", "second_layer_rate", eta_v),
    )
    their_w, their_v = step_of_goldt(w, v, x, label, eta, eta_v)
    np.testing.assert_allclose(to("goldt", "weights", W, input_dim=D), their_w, rtol=1e-13)
    np.testing.assert_allclose(to("goldt", "output_weights", second), their_v, rtol=1e-13)
    assert to("goldt", "time", 12 / D) == 12 / D


def test_a_step_of_saad_and_solla(rng):
    J = rng.normal(size=(K, D))
    x = rng.normal(size=D)
    label = 0.3
    eta = 0.6
    W, _ = step_here(
        from_("saad_solla", "weights", J),
        np.ones(K),
        x,
        label,
        from_("saad_solla", "learning_rate", eta),
        0.0,
    )
    np.testing.assert_allclose(
        to("saad_solla", "weights", W), step_of_saad_solla(J, x, label, eta), rtol=1e-13
    )


@pytest.mark.parametrize("name", ["saad_solla", "goldt"])
def test_rates_are_those_of_half_the_loss(name, rng):
    """OrderParameters(half_loss=True) takes their rates: the same derivatives of all order
    parameters.
    """
    student = committee(K)
    teacher = committee(M)
    neti = inf.NetI(
        student,
        inf.Teacher(teacher, inf.random_params(teacher, rng=1), noise=from_(name, "noise", 0.3)),
    )
    theta = inf.random_params(student, rng=2)
    eta = 0.8
    eta_v = 0.5
    theirs = inf.OrderParameters(neti, eta, eta_v, half_loss=True)
    ours = inf.OrderParameters(
        neti, from_(name, "learning_rate", eta), from_(name, "second_layer_rate", eta_v)
    )
    ends = [each.solve(theta, t_end=0.5, rtol=1e-10, atol=1e-10).state() for each in (theirs, ours)]
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_noise_and_loss(rng):
    """Labels y + sigma z: half the expected squared error is half of ours, noise included."""
    student = committee(K)
    teacher = committee(M)
    theta = inf.random_params(student, rng=2)
    theta_star = inf.random_params(teacher, rng=1)
    clean, noisy = (
        inf.NetI(student, inf.Teacher(teacher, theta_star, noise=s)) for s in (0.0, 0.3)
    )
    for name in ("saad_solla", "goldt"):
        sigma = to(name, "noise", noisy.teacher.noise)
        half = to(name, "loss", inf.loss(noisy, theta))
        assert half == pytest.approx(
            to(name, "loss", inf.loss(clean, theta)) + sigma**2 / 2, rel=1e-14
        )


def test_generalization_error_of_saad_and_solla(rng):
    """Their generalization error in Q, R and T: a sum of arcsines over pi, which is half of our
    loss with output weights one.
    """
    student = committee(K)
    teacher = committee(M)
    J = rng.normal(size=(K, D))
    B = rng.normal(size=(M, D))
    neti = inf.NetI(
        student, inf.Teacher(teacher, teacher.pack([(B, None), (np.ones((1, M)), None)]))
    )
    theta = student.pack([(J, None), (np.ones((1, K)), None)])

    def arcsines(a, b, cross):
        return np.arcsin(cross / np.sqrt(np.outer(1 + np.diag(a), 1 + np.diag(b)))).sum()

    Q, R, T = (to("saad_solla", "overlaps", part) for part in inf.overlaps(neti, theta))
    formula = (arcsines(Q, Q, Q) + arcsines(T, T, T) - 2 * arcsines(Q, T, R)) / math.pi
    assert to("saad_solla", "loss", inf.loss(neti, theta)) == pytest.approx(formula, rel=1e-13)
    w = to("goldt", "weights", J, input_dim=D)
    np.testing.assert_allclose(
        to("goldt", "overlaps", Q), w @ w.T / D, rtol=1e-14
    )  # their Q = w.w/D
    np.testing.assert_allclose(Q, J @ J.T, rtol=1e-14)


# -------------------------------------------------------------------------------------------------
# MLPGradientFlow.jl


class Sum:
    """The sum over samples, as eq. 5 of the paper has it."""

    def __init__(self, net, N):
        self.net = net
        self.N = N
        self.num_params = net.num_params

    def evaluate(self, theta, order=0):
        return Evaluation(
            *(None if part is None else self.N * part for part in self.net.evaluate(theta, order))
        )

    def hvp(self, theta, v):
        return self.N * self.net.hvp(theta, v)


@pytest.fixture(scope="module")
def finite():
    N = 40
    rng = np.random.default_rng(1)
    layers = [(2, "softplus", True), (1, "identity", True)]
    X = rng.normal(size=(N, 2))
    y = rng.normal(size=N)
    net = inf.Net(layers, input=X, target=y)
    return net, N, inf.random_params(net, rng=3), X, y


OPTIONS = {
    "solver": "rodas5p",
    "rtol": 1e-10,
    "atol": 1e-10,
    "max_steps_newton": 0,
    "progress": False,
}


def test_loss_and_loss_of_the_flow(finite):
    net, N, theta, X, y = finite
    residuals = net.predict(theta, X)[:, 0] - y
    here = inf.loss(net, theta)
    assert to("mlpgradientflow", "loss", here) == pytest.approx((residuals**2).mean(), rel=1e-14)
    assert to("mlpgradientflow", "flow_loss", here, num_samples=N) == pytest.approx(
        (residuals**2).sum(), rel=1e-14
    )


def test_time_of_the_sum(finite):
    net, N, theta, *_ = finite
    there = inf.train(Sum(net, N), theta, t_end=0.1, **OPTIONS)
    here = inf.train(
        net, theta, t_end=from_("mlpgradientflow", "time", 0.1, num_samples=N), **OPTIONS
    )
    # both integrated to 1e-10
    np.testing.assert_allclose(here.theta_flow, there.theta_flow, atol=1e-8)


def test_tauinv(finite):
    """The default of the examples, tauinv = 1/N, is eta = 1."""
    net, N, theta, *_ = finite
    tauinv = 0.3 / N
    there = inf.train(Sum(net, N), theta, t_end=2.0, eta=tauinv, **OPTIONS)
    here = inf.train(
        net, theta, t_end=2.0, eta=from_("mlpgradientflow", "eta", tauinv, num_samples=N), **OPTIONS
    )
    np.testing.assert_allclose(here.theta_flow, there.theta_flow, atol=1e-8)
    assert from_("mlpgradientflow", "eta", 1 / N, num_samples=N) == pytest.approx(1.0, rel=1e-15)


def test_infinite_data_have_no_factor():
    for quantity in ("flow_loss", "time", "eta"):
        assert to("mlpgradientflow", quantity, 0.7, num_samples=math.inf) == 0.7


def test_weight_matrices(finite):
    net, _, theta, *_ = finite
    matrices = to_weight_matrices(net, theta)
    assert [each.shape for each in matrices] == [(2, 3), (1, 3)]
    x = np.array([0.3, -0.7])
    # as its documentation defines a network: inputs with a one below, multiplied from the left
    hidden = np.log1p(np.exp(matrices[0] @ np.append(x, 1.0)))
    assert (matrices[1] @ np.append(hidden, 1.0))[0] == pytest.approx(
        net.predict(theta, x[None])[0, 0], rel=1e-14
    )
    np.testing.assert_array_equal(from_weight_matrices(net, matrices), theta)
    student = committee(K)
    neti = inf.NetI(student, inf.Teacher(student, inf.random_params(student, rng=1)))
    theta = inf.random_params(student, rng=2)
    np.testing.assert_array_equal(
        from_weight_matrices(neti, to_weight_matrices(neti, theta)), theta
    )
    with pytest.raises(InfflowError, match="shapes"):
        from_weight_matrices(net, matrices[:1])
    with pytest.raises(InfflowError, match=r"inf\.Net"):
        to_weight_matrices("net", theta)


def test_weights_of_the_paper_package_are_ours():
    for quantity in ("weights", "output_weights"):
        np.testing.assert_array_equal(to("mlpgradientflow", quantity, [1.0, 2.0]), [1.0, 2.0])


# ---------------------------------------------------------------------------------------------- 1/K
# and erf(x/sqrt 2)


def test_mean_field(rng):
    """The parametrization "mean_field" has 1/K outside: the same function, and the same flow with
    the rates converted.
    """
    X = rng.normal(size=(20, 2))
    y = rng.normal(size=20)
    layers = [(K, "tanh", False), (1, "identity", False)]
    here = inf.Net(layers, input=X, target=y)
    there = inf.Net(layers, input=X, target=y, parametrization="mean_field")
    theta = inf.random_params(here, rng=4)
    (W, _), (v, _) = here.unpack(theta)
    theirs = there.pack(
        [
            (to("mean_field", "weights", W), None),
            (to("mean_field", "output_weights", v, width=K), None),
        ]
    )
    np.testing.assert_allclose(there.predict(theirs, X), here.predict(theta, X), rtol=1e-14)
    assert to("mean_field", "loss", inf.loss(here, theta)) == pytest.approx(
        inf.loss(there, theirs), rel=1e-14
    )
    eta = np.ones(there.num_params)
    eta[: 2 * K] = to("mean_field", "eta", 1.0)
    eta[2 * K :] = to("mean_field", "second_layer_eta", 1.0, width=K)
    end = inf.train(here, theta, t_end=2.0, **OPTIONS).theta_flow
    (W, _), (a, _) = there.unpack(
        inf.train(there, theirs, t_end=2.0, eta=eta, **OPTIONS).theta_flow
    )
    np.testing.assert_allclose(W, here.unpack(end)[0][0], atol=1e-8)
    np.testing.assert_allclose(
        from_("mean_field", "output_weights", a, width=K), here.unpack(end)[1][0], atol=1e-8
    )


def test_plain_erf(rng):
    net = inf.Net([(2, "erf", True), (1, "identity", False)], input_dim=2)
    W = rng.normal(size=(2, 2))
    b = rng.normal(size=2)
    a = rng.normal(size=(1, 2))
    x = rng.normal(size=(5, 2))
    output = erf(x @ to("plain_erf", "weights", W).T + to("plain_erf", "weights", b)) @ a.T
    np.testing.assert_allclose(net.predict(net.pack([(W, b), (a, None)]), x), output, rtol=1e-14)


# --------------------------------------------------------------------------------------------------
# bad input


@pytest.mark.parametrize(
    ("arguments", "sizes", "message"),
    [
        (("godlt", "loss", 1.0), {}, "Did you mean 'goldt'"),
        (("goldt", "los", 1.0), {}, "Did you mean 'loss'"),
        (("goldt", "weights", 1.0), {}, "input_dim"),
        (("goldt", "weights", 1.0), {"input_dim": 0}, "at least 1"),
        (("goldt", "weights", 1.0), {"input_dim": math.inf}, "integer"),
        (("goldt", "weights", 1.0), {"D": 3}, "not a size"),
        (("goldt", "loss", "1"), {}, "number"),
        (("goldt", "loss", math.nan), {}, "finite"),
        (("goldt", "loss", [1.0, math.nan]), {}, "nan"),
        (("mlpgradientflow", "time", 1.0), {}, "num_samples"),
        (("mlpgradientflow", "time", 1.0), {"num_samples": 2.5}, "integer"),
    ],
)
@pytest.mark.parametrize("function", [to, from_])
def test_bad_input(function, arguments, sizes, message):
    with pytest.raises(InfflowError, match=message):
        function(*arguments, **sizes)


def test_reached_as_attribute():
    assert inf.conventions.to is to
