"""Barrier, ridge and pairs of neurons to merge.

Derivatives, sums of squares, copies of networks, and runs across the barrier.
"""

import numpy as np
import pytest

import infflow as inf
from infflow.cli.files import Configuration
from infflow.errors import (
    ConfigurationError,
    InvalidTypeError,
    InvalidValueError,
    MethodError,
    StorageError,
)
from infflow.networks.finite import readable

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 2))
Y = np.sin(X[:, 0]) * X[:, 1]
LAYERS = [(4, "tanh", True), (1, "identity", True)]
DEEP = [(3, "tanh", True), (3, "softplus", False), (2, "identity", True)]
ONE = {"layer": 1, "pair": (0, 2), "lambda": 0.7}
SEVERAL = [
    ONE,
    {"layer": 1, "pair": (2, 1), "lambda": 0.2},
    {"layer": 2, "pair": (1, 0), "lambda": 1.3},
]

PENALTIES = {
    "barrier": {"maxnorm": 3.0},
    "barrier at zero": {"maxnorm": 0.0},
    "barrier and ridge": {"maxnorm": 3.0, "ridge": 0.3},
    "merge": {"merge": SEVERAL},
    "all": {"maxnorm": 3.0, "ridge": 0.3, "merge": SEVERAL},
}


def net_of(layers=DEEP, **arguments):
    target = np.column_stack([Y, Y**2])[:, : layers[-1][0]]
    return inf.Net(layers, input=X, target=target, **arguments)


def at_norm(net, half_square, seed=0):
    """Random parameters with |theta|^2/2 as given."""
    theta = np.random.default_rng(seed).standard_normal(net.num_params)
    return theta * np.sqrt(2.0 * half_square) / np.linalg.norm(theta)


# --------------------------------------------------------------------------------------------------
# sums of squares


@pytest.mark.parametrize("weights", [None, np.arange(12.0)])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_residuals_have_one_length_and_add_up_to_the_loss(penalty, weights):
    """Inside, on and beyond the barrier; also of a minibatch."""
    net = net_of(weights=weights, **PENALTIES[penalty])
    for each in (net, net.subset(np.array([3, 5, 1]))):
        lengths = set()
        for seed, half_square in enumerate([0.0, 1.0, 2.9999, 3.0, 3.0 + 1e-12, 3.0001, 4.0, 1e3]):
            theta = at_norm(net, half_square, seed)
            r = each.residuals(theta)
            J = each.jacobian(theta)
            found = each.evaluate(theta, 1)
            assert r @ r == pytest.approx(found.value, rel=1e-13)
            np.testing.assert_allclose(
                2.0 * r @ J,
                found.gradient,
                rtol=0,
                atol=1e-12 * np.abs(J).max() * max(1.0, np.abs(r).max()),
            )
            lengths.add((len(r), *J.shape))
        assert len(lengths) == 1 and lengths.pop()[:2] == (len(r), len(r))


@pytest.mark.parametrize("penalty", PENALTIES)
def test_jacobian_against_differences_across_the_boundary(penalty):
    """The integral of the Jacobian along a line is the change of the residuals."""
    net = net_of(**PENALTIES[penalty])
    inside = at_norm(net, 2.5)
    beyond = at_norm(net, 3.7)
    step = beyond - inside
    # |theta| grows along the line, which crosses the barrier once; Gauss rules on both sides are
    # exact to rounding
    crossing = (np.sqrt(6.0) - np.linalg.norm(inside)) / np.linalg.norm(step)
    x, w = np.polynomial.legendre.leggauss(12)
    change = 0.0
    for start, end in ((0.0, crossing), (crossing, 1.0)):
        for node, weight in zip(x, w, strict=True):
            s = start + (end - start) * (1 + node) / 2
            change = change + weight / 2 * (end - start) * (net.jacobian(inside + s * step) @ step)
    np.testing.assert_allclose(
        change, net.residuals(beyond) - net.residuals(inside), rtol=0, atol=1e-10
    )
    h = 1e-6
    for half_square in (2.5, 3.7):
        theta = at_norm(net, half_square, 1)
        pairs = [
            (net.residuals(theta + e), net.residuals(theta - e)) for e in h * np.eye(len(theta))
        ]
        slopes = np.array([(a - b) / (2 * h) for a, b in pairs]).T
        np.testing.assert_allclose(net.jacobian(theta), slopes, rtol=0, atol=1e-7)


def test_levenberg_marquardt_across_the_barrier():
    """From a start on the barrier the probe points of a step lie on both sides."""
    for seed in range(8):
        start = inf.random_params(net_of(LAYERS), rng=seed)
        net = net_of(LAYERS, maxnorm=0.5 * start @ start)
        found = inf.train(
            net,
            start,
            optimizer="levenberg_marquardt",
            max_steps_flow=0,
            max_steps_newton=30,
            progress=False,
        )
        assert found.loss < inf.loss(net, start)
        other = inf.train(
            net,
            start,
            optimizer="gauss_newton",
            max_steps_flow=0,
            max_steps_newton=30,
            progress=False,
        )
        assert other.loss < inf.loss(net, start)


def test_the_default_run_that_ended_at_the_barrier():
    teacher = inf.Net([(2, "g", True), (1, "identity", True)], input_dim=2)
    star = inf.random_params(teacher, rng=3, init="standard_normal")
    inputs = np.random.default_rng(3).normal(size=(200, 2))
    net = inf.Net(
        [(4, "g", True), (1, "identity", True)],
        input=inputs,
        target=teacher.predict(star, inputs),
        maxnorm=20.0,
    )
    found = inf.train(
        net,
        inf.random_params(net, rng=3),
        progress=False,
        max_steps_flow=3000,
        max_steps_newton=200,
    )
    assert found.newton.method == "levenberg_marquardt"
    assert found.loss <= found.trajectory.loss[-1]


# --------------------------------------------------------------------------------------------------
# merge


@pytest.mark.parametrize("parametrization", ["standard", "ntk"])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_merge_against_the_readable_twin(loss, parametrization):
    target = np.column_stack([Y, Y**2]) if loss == "mse" else (Y > 0).astype(int)
    net = inf.Net(
        DEEP,
        input=X,
        target=target,
        loss=loss,
        parametrization=parametrization,
        maxnorm=1.0,
        merge=SEVERAL,
    )
    theta = inf.random_params(net, 1, init="standard_normal")
    value, gradient, hessian = readable.derivatives(net, theta)
    found = net.evaluate(theta, 2)
    assert found.value == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(
        found.gradient, gradient, rtol=0, atol=1e-13 * np.abs(gradient).max()
    )
    np.testing.assert_allclose(found.hessian, hessian, rtol=0, atol=1e-13 * np.abs(hessian).max())
    np.testing.assert_array_equal(found.hessian, found.hessian.T)
    for v in (np.eye(net.num_params), theta):
        np.testing.assert_allclose(
            net.hvp(theta, v), hessian @ v, rtol=0, atol=1e-12 * np.abs(hessian @ v).max()
        )
        np.testing.assert_allclose(
            net.linearize(theta)(v), net.hvp(theta, v), rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("bias", [True, False])
def test_merge_written_out(bias):
    """w holds the bias where there is one; output weights have no part in it.

    Finite and infinite data alike.
    """
    layers = [(3, "erf", bias), (1, "identity", bias)]
    student = inf.Net(layers, input_dim=2)
    teacher = inf.Teacher(student, inf.random_params(student, 4, init="standard_normal"))
    plain, merging = (inf.NetI(student, teacher, ridge=0.1, merge=merge) for merge in (None, ONE))
    for a, b in ((plain, merging), (plain.sample(20, 0), merging.sample(20, 0))):
        theta = inf.random_params(student, 2, init="standard_normal")
        (W, c), _ = student.unpack(theta)
        gap = np.append(W[0] - W[2], 0.0 if c is None else c[0] - c[2])
        before = a.evaluate(theta, 2)
        after = b.evaluate(theta, 2)
        assert after.value - before.value == pytest.approx(0.35 * gap @ gap, rel=1e-12)
        (dW, dc), (dA, _) = student.unpack(after.gradient - before.gradient)
        np.testing.assert_allclose(dW, [0.7 * gap[:2], [0, 0], -0.7 * gap[:2]], atol=1e-14)
        assert dc is None or np.allclose(dc, [0.7 * gap[2], 0, -0.7 * gap[2]], atol=1e-14)
        assert not dA.any()
        v = np.random.default_rng(0).standard_normal((len(theta), 3))
        np.testing.assert_allclose(
            b.hvp(theta, v) - a.hvp(theta, v),
            (after.hessian - before.hessian) @ v,
            rtol=0,
            atol=1e-13 * np.abs(after.hessian).max(),
        )


@pytest.mark.parametrize(
    "optimizer", ["newton", "levenberg_marquardt", "gauss_newton", "lbfgs", "slsqp"]
)
def test_a_strong_merge_brings_two_neurons_together(optimizer):
    merge = {"layer": 1, "pair": (0, 1), "lambda": 1e4}
    net = net_of([(2, "tanh", True), (1, "identity", True)], ridge=0.01, merge=merge)
    start = inf.random_params(net, 3, init="standard_normal")
    found = inf.train(net, start, optimizer=optimizer, max_steps_newton=500, progress=False)
    (W, b), _ = net.unpack(found.theta)
    assert found.gradient_norm < 1e-6
    assert np.abs(W[0] - W[1]).max() < 1e-4 and abs(b[0] - b[1]) < 1e-4


def test_networks_made_from_one_keep_its_pairs():
    net = net_of(LAYERS, merge=ONE)
    neti = inf.NetI(
        inf.Net(LAYERS, input_dim=2),
        inf.Teacher(inf.Net(LAYERS, input_dim=2), np.ones(17)),
        merge=ONE,
    )
    theta = inf.random_params(net, 0)
    expected = net.regularization.merge
    copies = [
        net.with_data(X[:5], Y[:5]),
        net.subset(np.arange(3)),
        neti.sample(4, 0),
        neti.with_method("closed"),
    ]
    copies += [neti.frozen(theta), inf.quadrature_net(net, lambda x: x[:, 0])]
    for other in copies:
        assert other.regularization.merge == expected
    assert (
        inf.NetI(net, neti.teacher).regularization.merge == ()
    )  # only its own counts, as for barrier and ridge


@pytest.mark.parametrize("kind", ["finite", "infinite"])
def test_split_grow_and_shrink_renumber_pairs(kind):
    net = net_of(LAYERS, merge=[ONE, {"layer": 1, "pair": (3, 1), "lambda": 0.1}])
    if kind == "infinite":
        teacher = inf.Teacher(inf.Net(LAYERS, input_dim=2), np.ones(17))
        student = inf.Net(
            LAYERS, input_dim=2, maxnorm=7.0, merge=ONE
        )  # which does not count, but stays
        net = inf.NetI(student, teacher, merge=net.regularization.merge)
    theta = inf.random_params(net, 0, init="standard_normal")
    (W, b), (A, c) = net.unpack(theta)

    def pairs(other):
        return [pair.pair for pair in other.regularization.merge]

    assert pairs(inf.split_neuron(net, theta, 1)[0]) == [(0, 3), (4, 1)]
    assert pairs(inf.split_neuron(net, theta, 2)[0]) == [(0, 2), (4, 1)]
    assert pairs(inf.grow(net, theta, 2)[0]) == [(0, 2), (3, 1)]
    if kind == "infinite":
        own = inf.split_neuron(net, theta, 1)[0].student.regularization
        assert own.maxnorm == 7.0 and [pair.pair for pair in own.merge] == [(0, 3)]
    dead = net.pack([(W, b), (A * [1.0, 1.0, 0.0, 1.0], c)])
    small, rest = inf.shrink(net, dead)
    assert pairs(small) == [(2, 1)] and small.regularization.merge[0].strength == 0.1
    gap = W[3] - W[1]
    plain = inf.loss(small, rest) - 0.05 * (gap @ gap + (b[3] - b[1]) ** 2)
    assert plain == pytest.approx(inf.loss(net, dead) - net.regularization.value(dead), rel=1e-12)


def test_who_knows_of_pairs_and_who_refuses():
    layers = [(2, "erf", False), (1, "identity", False)]
    student = inf.Net(layers, input_dim=3)
    teacher = inf.Teacher(student, inf.random_params(student, 4, init="standard_normal"))
    merge = {"layer": 1, "pair": (0, 1), "lambda": 1e-3}
    neti = inf.NetI(student, teacher, merge=merge)
    theta = teacher.theta + 0.1
    with pytest.raises(MethodError, match="pairs to merge"):
        inf.certify(neti, theta)
    with pytest.raises(InvalidValueError, match="merge is given"):
        inf.OrderParameters(neti, 0.1)
    found = inf.train(neti, theta, progress=False)
    point = inf.classify(neti, found.theta)
    assert (
        point.kind.name == "MINIMUM" and point.loss > 0.0
    )  # not degenerate, not the zero of the plain loss
    prediction = inf.finite_data_prediction(neti, found.theta, 1e4, samples=2000)
    H = inf.hessian(neti, found.theta)
    C = inf.gradient_covariance(neti, found.theta, samples=200_000)
    inverse = np.linalg.inv(H)
    assert prediction.squared_distance == pytest.approx(
        np.trace(inverse @ C @ inverse) / 1e4, rel=0.2
    )


def test_the_merge_breaks_the_scaling_of_relu():
    """Without the pair every rescaling of a relu neuron is flat.

    Its exact symmetry must not be assumed with it.
    """
    layers = [(2, "relu", False), (1, "identity", False)]
    student = inf.Net(layers, input_dim=3)
    teacher = inf.Teacher(student, inf.random_params(student, 4, init="standard_normal"))
    theta = teacher.theta
    assert inf.classify(inf.NetI(student, teacher), theta).kind.name == "DEGENERATE_MINIMUM"
    merging = inf.NetI(student, teacher, merge={"layer": 1, "pair": (0, 1), "lambda": 0.3})
    assert inf.classify(merging, theta).kind.name != "DEGENERATE_MINIMUM"


WRONG = [
    ("pair", InvalidTypeError, "dictionary"),
    ({"layer": 1, "pair": (0, 1)}, InvalidTypeError, "dictionary"),
    ([ONE, 3], InvalidTypeError, r"merge\[1\]"),
    ({**ONE, "layer": 0}, InvalidValueError, "counted from 1"),
    ({**ONE, "layer": 3}, InvalidValueError, "counted from 1, is 3"),
    ({**ONE, "layer": True}, InvalidTypeError, "layer"),
    ({**ONE, "layer": 2}, InvalidValueError, "neurons of layer 2"),
    ({**ONE, "pair": (0, 4)}, InvalidValueError, "0 to 3"),
    ({**ONE, "pair": (-1, 0)}, InvalidValueError, "0 to 3"),
    ({**ONE, "pair": (1, 1)}, InvalidValueError, "two different"),
    ({**ONE, "pair": "01"}, InvalidTypeError, "two neurons"),
    ({**ONE, "pair": (0, 1, 2)}, InvalidTypeError, "two neurons"),
    ({**ONE, "pair": (0.0, 1.0)}, InvalidTypeError, "integer"),
    ({**ONE, "pair": ([0], [1])}, InvalidTypeError, "two neurons"),
    ({**ONE, "pair": {0, 1}}, InvalidTypeError, "two neurons"),
    ({**ONE, "lambda": -1.0}, InvalidValueError, "lambda"),
    ({**ONE, "lambda": np.inf}, InvalidValueError, "lambda"),
    ({**ONE, "lambda": "0.1"}, InvalidTypeError, "lambda"),
]


@pytest.mark.parametrize(("merge", "error", "message"), WRONG)
def test_bad_pairs(merge, error, message):
    with pytest.raises(error, match=message):
        inf.Net(LAYERS, input_dim=2, merge=merge)


def test_pairs_in_a_configuration():
    table = {
        "student": {"hidden": 3, "input_dim": 2},
        "teacher": {"hidden": 2},
        "loss": {"merge": {"layer": 1, "pair": [0, 2], "lambda": 0.7}},
    }
    for samples in (None, 20):
        net = Configuration.from_dict(
            {**table, "data": {} if samples is None else {"samples": samples}}
        ).problem()
        assert (
            net.regularization.merge
            == inf.Net([(3, "tanh", True)], input_dim=1, merge=ONE).regularization.merge
        )
    table["loss"]["merge"] = [{"layer": 1, "pair": [0, 3], "lambda": 0.7}]
    with pytest.raises(ConfigurationError, match="0 to 2"):
        Configuration.from_dict(table)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"merge": ONE}, {"merge": {**ONE, "lambda": 7.0}}),
        ({"merge": ONE}, {}),
        ({"maxnorm": 50.0}, {"maxnorm": 60.0}),
    ],
)
def test_a_checkpoint_knows_its_regularisation(tmp_path, before, after):
    """Terms that vanish at the start, with their gradient, tell nothing there.

    Two equal neurons, the inside of a barrier.
    """
    plain = net_of(LAYERS)
    (W, b), (A, c) = plain.unpack(inf.random_params(plain, 0))
    start = plain.pack([(W[[0, 1, 0, 3]], b[[0, 1, 0, 3]]), (A, c)])
    file = tmp_path / "run.npz"
    settings = {"checkpoint": file, "max_steps_flow": 5, "max_steps_newton": 0, "progress": False}
    inf.train(net_of(LAYERS, **before), start, **settings)
    inf.train(net_of(LAYERS, **before), start, **settings)
    with pytest.raises(StorageError, match="regularization"):
        inf.train(net_of(LAYERS, **after), start, **settings)
