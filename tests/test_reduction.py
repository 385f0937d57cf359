"""Work in the inputs that weights span, against the whole network at D up to 40."""

import pickle

import numpy as np
import pytest

import infflow as inf
from infflow.classification.few_inputs import InFewInputs
from infflow.errors import InvalidTypeError, InvalidValueError, MethodError, StorageError
from infflow.networks import statistics
from infflow.networks.infinite.invariant import Left, Span, span, take_apart
from infflow.networks.infinite.reduction import Reduction
from infflow.settings import FIELDS, PATH
from infflow.stopping import StopReason
from infflow.storage import load_archive, save_archive

D = 30
rng = np.random.default_rng(0)
SPIKE, OTHER = rng.normal(size=(2, D)) / 3
HALVES = np.repeat([1.0, 3.0], [12, D - 12])

INPUTS = {
    "standard": None,
    "isotropic": inf.Gaussian(rng.normal(size=D), 2.0),
    "spike": inf.Gaussian(0.0, np.eye(D) + np.outer(SPIKE, SPIKE)),
    "spike and mean": inf.Gaussian(rng.normal(size=D) / 2, np.eye(D) + np.outer(SPIKE, SPIKE)),
    "two eigenvalues": inf.Gaussian(0.0, HALVES),
    "singular": inf.Gaussian(0.2, np.repeat([0.0, 2.0], [4, D - 4])),
    "mixture": inf.GaussianMixture([0.4, 0.6], rng.normal(size=(2, D)), np.ones((2, D))),
    "mixture of spikes": inf.GaussianMixture(
        [0.4, 0.6],
        rng.normal(size=(2, D)),
        [np.eye(D) + np.outer(SPIKE, SPIKE), 2.0 * np.eye(D) + np.outer(OTHER, OTHER)],
    ),
    "mixture of halves": inf.GaussianMixture(
        [0.4, 0.6], np.zeros((2, D)), [HALVES, HALVES[::-1].copy()]
    ),
}
#: inputs of the span: 5 rows of weights, means, and what the covariance makes of them
SPANNED = {
    "standard": 5,
    "isotropic": 6,
    "spike": 6,
    "spike and mean": 7,
    "two eigenvalues": 10,
    "singular": 10,
    "mixture": 7,
    "mixture of spikes": 9,
    "mixture of halves": 15,
}


def problem(kind="standard", f="erf", K=2, M=3, dim=D, **more):
    """A network with biases and two outputs, its start, and further arguments for both nets."""
    student = {key: more.pop(key) for key in ("parametrization",) if key in more}
    t = inf.Net([(M, f, True), (2, "identity", True)], input_dim=dim)
    s = inf.Net([(K, f, True), (2, "identity", True)], input_dim=dim, **student)
    scale = np.sqrt(dim) if student.get("parametrization") == "ntk" else 1.0
    teacher = inf.Teacher(t, inf.random_params(t, rng=1, init="standard_normal") / 2, 0.1)
    theta = inf.random_params(s, rng=2, init="standard_normal") / 2
    theta[: K * dim] *= scale
    return inf.NetI(s, teacher, input=INPUTS[kind], **more), theta


def plain(K=3, M=3, dim=20, f="erf", seed=0):
    """A network without biases, with output weights one, and a start."""
    generator = np.random.default_rng(seed)
    t = inf.Net([(M, f, False), (1, "identity", False)], input_dim=dim)
    s = inf.Net([(K, f, False), (1, "identity", False)], input_dim=dim)
    V, W = (generator.normal(size=(k, dim)) / np.sqrt(dim) for k in (M, K))
    teacher = inf.Teacher(t, t.pack([(V, None), (np.ones((1, M)), None)]))
    return inf.NetI(s, teacher), s.pack([(W, None), (np.ones((1, K)), None)])


# --------------------------------------------------------------------------------- the same network


@pytest.mark.parametrize("parametrization", ["standard", "ntk", "mean_field"])
@pytest.mark.parametrize("f", ["erf", "relu"])
@pytest.mark.parametrize("kind", INPUTS)
def test_loss_gradient_and_spectrum_are_those_of_the_whole_network(kind, f, parametrization):
    penalties = {"ridge": 0.1, "maxnorm": 1.0}
    penalties["merge"] = {"layer": 1, "pair": (0, 1), "lambda": 0.3}
    neti, theta = problem(kind, f, parametrization=parametrization, **penalties)
    red = inf.reduce(neti, theta)
    assert red.input_dim == SPANNED[kind] and red.multiplicity == D - SPANNED[kind]
    whole = neti.evaluate(theta, 2)
    here = red.net.evaluate(red.theta, 1)
    np.testing.assert_allclose(red.basis.T @ red.basis, np.eye(red.input_dim), atol=1e-14)
    np.testing.assert_allclose(here.value, whole.value, rtol=1e-14)
    np.testing.assert_allclose(red.lift(here.g), whole.g, atol=1e-14 * np.abs(whole.g).max())
    np.testing.assert_allclose(red.lift(red.theta), theta, atol=1e-14 * np.abs(theta).max())
    np.testing.assert_array_equal(red.restrict(theta), red.theta)
    values, counts = inf.hessian_eigenvalues(neti, theta)
    expected = np.linalg.eigvalsh(whole.H)
    assert counts.sum() == neti.num_params and (np.diff(values) >= 0.0).all()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(np.repeat(values, counts), expected, atol=1e-14 * scale)


def test_softplus_by_series_and_several_activations():
    s = inf.Net([(3, ["softplus", "tanh", "relu"], True), (1, "identity", True)], input_dim=25)
    t = inf.Net([(2, ["gelu", "sigmoid"], True), (1, "identity", False)], input_dim=25)
    neti = inf.NetI(s, inf.Teacher(t, inf.random_params(t, rng=1, init="standard_normal") / 3))
    theta = inf.random_params(s, rng=2)
    red = inf.reduce(neti, theta)
    whole = neti.evaluate(theta, 1)
    here = red.net.evaluate(red.theta, 1)
    np.testing.assert_allclose(here.value, whole.value, rtol=1e-12)
    np.testing.assert_allclose(red.lift(here.g), whole.g, atol=1e-12)


def assert_agrees(red, neti, theta, tolerance):
    """Value, gradient and spectrum in few inputs are those in all."""
    whole = neti.evaluate(theta, 2)
    here = red.net.evaluate(red.theta, 1)
    np.testing.assert_allclose(here.value, whole.value, rtol=tolerance)
    np.testing.assert_allclose(red.lift(here.g), whole.g, atol=tolerance)
    values, counts = inf.hessian_eigenvalues(neti, theta)
    spectrum = np.repeat(values, counts)
    np.testing.assert_allclose(spectrum, np.linalg.eigvalsh(whole.H), atol=tolerance)


def test_teachers_that_are_functions():
    V = np.random.default_rng(0).normal(size=(2, 15))
    teacher = inf.FunctionTeacher(lambda z: np.sin(z[:, 0]) * z[:, 1], V / 4)
    s = inf.Net([(2, "erf", True), (1, "identity", False)], input_dim=15, parametrization="ntk")
    neti = inf.NetI(s, teacher, input=inf.Gaussian(np.full(15, 0.1), 1.5))
    theta = inf.random_params(s, rng=2, init="standard_normal")
    red = inf.reduce(neti, theta)
    assert red.input_dim == 5
    assert_agrees(red, neti, theta, 1e-9)


def test_an_arbitrary_covariance_spans_everything():
    A = np.random.default_rng(0).normal(size=(D, D))
    neti, theta = problem()
    neti = neti.replace(input=inf.Gaussian(0.0, A @ A.T / D))
    red = inf.reduce(neti, theta)
    assert red.multiplicity == 0 and not red.is_smaller
    np.testing.assert_allclose(red.lift(red.theta), theta, atol=1e-14)
    result = inf.train(neti, theta, max_steps_flow=3, max_steps_newton=0)
    assert result.reduction == "not reduced: the weights span all inputs"
    with pytest.raises(InvalidValueError, match="span all inputs"):
        red.perpendicular(red.theta)


def test_few_inputs_stay_as_they_are():
    neti, theta = plain(K=3, M=4, dim=7)
    red = inf.reduce(neti, theta)
    assert red.net is neti and red.multiplicity == 0
    np.testing.assert_array_equal(red.theta, theta)


def test_the_span_is_invariant_and_no_larger_than_needed():
    for kind, given in INPUTS.items():
        inputs = inf.NetI(*problem(kind)[0]._arguments.values()).input if given is None else given
        rows = np.random.default_rng(1).normal(size=(3, D))
        found = span(take_apart(inputs), rows.copy())
        Q = found.basis
        outside = np.eye(D) - Q @ Q.T
        np.testing.assert_allclose(rows @ outside, 0.0, atol=1e-13)
        covs = [np.eye(D)] if given is None else getattr(inputs, "covs", None)
        for cov in [inputs.cov] if covs is None else covs:
            np.testing.assert_allclose(outside @ cov @ Q, 0.0, atol=1e-13)
        assert Q.shape[1] + sum(left.multiplicity for left in found.left) == D
        for left in found.left:
            q = left.vector()
            np.testing.assert_allclose(Q.T @ q, 0.0, atol=1e-14)
            np.testing.assert_allclose(np.linalg.norm(q), 1.0, rtol=1e-14)
            B = left.complement()
            assert B.shape == (D, left.multiplicity)
            np.testing.assert_allclose(Q.T @ B, 0.0, atol=1e-14)


def test_tiny_rows_count_by_their_direction():
    neti, theta = plain()
    W = neti.unpack(theta)[0][0]
    W[0] *= 1e-200
    W[1] = 0.0
    red = inf.reduce(neti, theta)
    assert red.input_dim == 5
    lifted = red.lift(red.theta)
    np.testing.assert_allclose(lifted[:20], theta[:20], atol=1e-214)
    assert not lifted[20:40].any()


# --------------------------------------------------------------------------------- outside of it


def formula(neti, theta):
    """J of the design, neuron by neuron, from single moments."""
    (W, b), (A, c) = neti.unpack(theta)
    (V, d), (C, e) = neti.teacher.net.unpack(neti.teacher.theta)
    units = [*zip(W, b, A.T, strict=True), *zip(V, d, -C.T, strict=True)]
    names = [f.name for f in neti.layers[0].activations]
    names += [f.name for f in neti.teacher.net.layers[0].activations]

    def moment(i, j, orders):
        (w, x, _), (v, y, _) = units[i], units[j]
        r = np.linalg.norm(w)
        s = np.linalg.norm(v)
        u = 1.0 if i == j else w @ v / (r * s)
        return inf.gaussian_moment(names[i], names[j], r, s, u, x, y, orders=orders)

    K = len(W)
    J = np.zeros((K, K))
    for i in range(K):
        for j in range(K):
            J[i, j] = 2.0 * A[:, i] @ A[:, j] * moment(i, j, (1, 1))
        for j, (_, _, out) in enumerate(units):
            J[i, i] += 2.0 * A[:, i] @ out * moment(i, j, (2, 0))
        mean = inf.gaussian_mean(names[i], np.linalg.norm(W[i]), b[i], order=2)
        J[i, i] += 2.0 * A[:, i] @ (c - e) * mean
    return J


@pytest.mark.parametrize("parametrization", ["standard", "ntk", "mean_field"])
@pytest.mark.parametrize("kind", ["standard", "two eigenvalues", "mixture of spikes"])
def test_perpendicular_agrees_with_products(kind, parametrization):
    penalties = {"ridge": 0.1, "maxnorm": 1.0}
    penalties["merge"] = {"layer": 1, "pair": (0, 2), "lambda": 0.3}
    neti, theta = problem(kind, K=3, parametrization=parametrization, **penalties)
    red = inf.reduce(neti, theta)
    for group in range(len(red.multiplicities)):
        J = red.perpendicular(red.theta, group)
        slow = red._from_products(red.theta, group)
        np.testing.assert_allclose(J, slow, atol=1e-12 * np.abs(J).max())


@pytest.mark.parametrize("f", ["erf", "relu", "softplus"])
def test_perpendicular_is_the_formula(f):
    neti, theta = problem(f=f)
    red = inf.reduce(neti, theta)
    J = red.perpendicular(red.theta)
    np.testing.assert_allclose(J, formula(neti, theta), atol=1e-11 * np.abs(J).max())


def test_eigenvalues_of_the_input_factors_and_penalties_enter_as_they_should():
    neti, theta = problem()
    J = inf.reduce(neti, theta).perpendicular(inf.reduce(neti, theta).theta)
    wide = neti.replace(input=inf.Gaussian(np.zeros(D), 2.0), ridge=0.3, maxnorm=1.0)
    red = inf.reduce(wide, theta)
    inner = neti.replace(input=inf.Gaussian(np.zeros(D), 2.0))
    red_inner = inf.reduce(inner, theta)
    excess = theta @ theta / 2 - 1.0
    expected = red_inner.perpendicular(red_inner.theta) + (0.3 + 2.0 * excess) * np.eye(2)
    np.testing.assert_allclose(red.perpendicular(red.theta), expected, rtol=1e-13)
    # a covariance is a change of weights: J of sqrt(2) W, with V the same way, times 2
    (W, b), (A, c) = neti.unpack(theta)
    scaled = neti.pack([(np.sqrt(2.0) * W, b), (A, c)])
    (V, d), (C, e) = neti.teacher.net.unpack(neti.teacher.theta)
    net = neti.teacher.net
    teacher = inf.Teacher(net, net.pack([(np.sqrt(2.0) * V, d), (C, e)]), 0.1)
    other = inf.reduce(neti.replace(teacher=teacher), scaled)
    np.testing.assert_allclose(
        2.0 * other.perpendicular(other.theta), red_inner.perpendicular(red_inner.theta), rtol=1e-12
    )
    assert J.shape == (2, 2)


def test_one_matrix_for_each_eigenvalue():
    neti, theta = problem("two eigenvalues")
    red = inf.reduce(neti, theta)
    assert red.multiplicities == (7, 13)
    np.testing.assert_allclose(red.variances, [[1.0], [3.0]], rtol=1e-14)
    first, second = (red.perpendicular(red.theta, group) for group in (0, 1))
    np.testing.assert_allclose(second, 3.0 * first, rtol=1e-13)
    with pytest.raises(
        InvalidValueError, match=r"multiplicities \(7, 13\); give the group, 0 to 1"
    ):
        red.perpendicular(red.theta)
    with pytest.raises(InvalidValueError, match="group is 2; it must be at most 1"):
        red.perpendicular(red.theta, 2)


def test_the_whole_hessian_outside_of_the_span_is_the_product_of_j_and_one():
    neti, theta = problem("mixture of halves")
    red = inf.reduce(neti, theta)
    H = neti.evaluate(theta, 2).H[: 2 * D, : 2 * D].reshape(2, D, 2, D)
    for group, B in enumerate(red.directions()):
        block = np.einsum("da,idje,eb->iajb", B, H, B)
        J = red.perpendicular(red.theta, group)
        expected = np.einsum("ij,ab->iajb", J, np.eye(B.shape[1]))
        np.testing.assert_allclose(block, expected, atol=1e-13)


@pytest.mark.parametrize("kind", ["standard", "spike", "mixture of spikes"])
def test_eigenvectors_of_the_whole_hessian(kind):
    neti, theta = problem(kind, K=20, M=2)
    assert neti.num_params > 500 and inf.reduce(neti, theta).is_smaller
    values, vectors = inf.hessian_spectrum(neti, theta)
    H = inf.hessian(neti, theta)
    scale = np.abs(values).max()
    np.testing.assert_allclose(H @ vectors, vectors * values, atol=1e-13 * scale)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(H)), atol=1e-13)
    assert (np.diff(values) >= 0.0).all()


def test_eigenvalues_of_other_objectives_are_single():
    net = inf.Net([(1, "identity", False)], input=np.eye(3), target=np.arange(3.0))
    values, counts = inf.hessian_eigenvalues(net, np.zeros(3))
    np.testing.assert_allclose(values, 2 / 3, rtol=1e-14)
    np.testing.assert_array_equal(counts, 1)


def test_a_million_parameters_need_no_large_matrix():
    neti, theta = plain(dim=300_000)
    values, counts = inf.hessian_eigenvalues(neti, theta)
    assert len(values) == 24 and counts.sum() == 900_003
    run = inf.train(neti, theta, observables=["overlaps"])
    assert run.converged and run.theta.shape == theta.shape
    Q, R, _ = inf.overlaps(neti, run.theta)
    np.testing.assert_allclose(
        run.trajectory.observables["overlaps"][-1], np.hstack([Q, R]), atol=1e-4
    )
    largest = np.abs(inf.gradient(neti, run.theta)).max()
    assert abs(run.gradient_norm - largest) < 1e-15
    whole = inf.train(
        neti, theta, reduce=False, observables=["overlaps"], max_steps_flow=1, max_steps_newton=0
    )
    assert whole.trajectory.observables["overlaps"].shape[1:] == (3, 6)


# ---------------------------------------------------------------------------------- finite data


@pytest.mark.parametrize("method", ["sampling", "exact"])
@pytest.mark.parametrize("kind", ["standard", "two eigenvalues", "mixture"])
def test_the_prediction_for_finite_data_is_that_of_the_whole_network(kind, method, monkeypatch):
    neti, theta = problem(kind)
    found = inf.train(neti, theta, min_gradient_norm=1e-12)
    options = {"samples": 20_000, "method": method}
    prediction = inf.finite_data_prediction(neti, found.theta, 100, **options)
    assert prediction.reduction == str(inf.reduce(neti, found.theta))
    monkeypatch.setattr(statistics, "reduced", lambda *both: None)
    whole = inf.finite_data_prediction(neti, found.theta, 100, **options)
    assert whole.reduction == "" and whole.rank == prediction.rank
    for name in ("squared_distance", "loss_gap"):
        errors = [getattr(each, f"{name}_error") for each in (prediction, whole)]
        difference = getattr(prediction, name) - getattr(whole, name)
        if method == "exact":
            assert errors == [0.0, 0.0]
            assert abs(difference) < 1e-7 * getattr(whole, name)
        else:
            assert abs(difference) < 4.0 * np.hypot(*errors)


# ------------------------------------------------------------------------------------- training


def both(neti, theta, **settings):
    settings = {"progress": False, **settings}
    runs = [inf.train(neti, theta, reduce=reduce, **settings) for reduce in ("auto", False)]
    assert runs[0].reduction.startswith("reduced to the span of weights")
    assert runs[1].reduction == "not reduced: reduce is False"
    return runs


@pytest.mark.parametrize("kind", ["standard", "spike and mean", "mixture of spikes"])
@pytest.mark.parametrize("solver", ["gear", "rodas5p", "tsit5", "exprb"])
def test_the_flow_is_that_of_the_whole_network(solver, kind):
    neti, theta = problem(kind, ridge=0.01)
    t = [0.0, 0.3, 2.0, 8.0]
    run, whole = both(
        neti, theta, solver=solver, rtol=1e-9, atol=1e-9, t_end=8.0, t_eval=t, max_steps_newton=0
    )
    np.testing.assert_allclose(run.trajectory.theta, whole.trajectory.theta, atol=3e-7)
    np.testing.assert_allclose(run.trajectory.loss, whole.trajectory.loss, atol=3e-7)
    np.testing.assert_allclose(
        run.trajectory.gradient_norm, whole.trajectory.gradient_norm, atol=3e-7
    )
    np.testing.assert_array_equal(run.trajectory.theta[0], theta)
    np.testing.assert_array_equal(run.trajectory.theta[-1], run.theta_flow)


def test_gradient_descent_takes_the_same_steps():
    neti, theta = problem("two eigenvalues")
    settings = {"solver": "gd", "step_size": 0.01, "t_end": 0.5, "max_steps_newton": 0}
    run, whole = both(neti, theta, **settings)
    assert run.flow.steps == whole.flow.steps == 50
    np.testing.assert_allclose(run.theta, whole.theta, atol=1e-13)
    np.testing.assert_allclose(run.loss, whole.loss, rtol=1e-13)


@pytest.mark.parametrize("optimizer", ["auto", "newton", "bfgs", "lbfgs"])
def test_searches_find_the_same_minimum(optimizer):
    neti, theta = problem(ridge=0.01)
    run, whole = both(neti, theta, optimizer=optimizer)
    np.testing.assert_allclose(run.loss, whole.loss, rtol=1e-12)
    exact = np.abs(inf.gradient(neti, run.theta)).max()
    assert run.gradient_norm < 1e-7 and abs(exact - run.gradient_norm) < 1e-14


def test_a_bound_of_the_gradient_holds_in_all_parameters():
    neti, theta = problem()
    for bound in (1e-2, 1e-4, 1e-6):
        run = inf.train(neti, theta, min_gradient_norm=bound, max_steps_newton=0)
        if run.status is StopReason.MIN_GRADIENT_NORM:
            assert run.gradient_norm <= bound
            np.testing.assert_allclose(
                np.abs(inf.gradient(neti, run.theta)).max(), run.gradient_norm, rtol=1e-9
            )


def test_frozen_rows_biases_and_second_layers():
    neti, theta = problem()
    eta = np.ones(neti.num_params)
    eta[:D] = 0.0  # the first neuron's weights
    eta[D : 2 * D] = 3.0
    eta[2 * D] = 0.5  # its bias
    eta[2 * D + 2 :] = 0.0  # the output layer
    t = [0.0, 1.0, 4.0]
    settings = {"rtol": 1e-9, "atol": 1e-9, "t_end": 4.0, "t_eval": t, "max_steps_newton": 0}
    run, whole = both(neti, theta, eta=eta, **settings)
    np.testing.assert_allclose(run.theta, whole.theta, atol=1e-7)
    np.testing.assert_array_equal(run.theta[eta == 0.0], theta[eta == 0.0])
    np.testing.assert_array_equal(run.trajectory.theta[:, eta == 0.0], [theta[eta == 0.0]] * 3)
    assert abs(run.gradient_norm - whole.gradient_norm) < 1e-7
    search = inf.train(neti, theta, eta=eta)
    np.testing.assert_array_equal(search.theta[eta == 0.0], theta[eta == 0.0])
    free = np.abs(inf.gradient(neti, search.theta)[eta > 0.0]).max()
    assert abs(free - search.gradient_norm) < 1e-14


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"solver": "adam", "step_size": 0.01}, "solver 'adam' treats single weights"),
        ({"optimizer": "slsqp"}, "optimizer 'slsqp' treats single weights"),
        ({"eta": "one by one"}, "eta differs among the input weights of neuron 1"),
    ],
)
def test_what_does_not_commute_with_rotations_keeps_all_parameters(settings, why):
    neti, theta = problem()
    settings = {"max_steps_flow": 2, "max_steps_newton": 1, **settings}
    if "eta" in settings:
        settings["eta"] = np.ones(neti.num_params)
        settings["eta"][D + 4] = 0.5
    result = inf.train(neti, theta, **settings)
    assert result.reduction.startswith(f"not reduced: {why}")
    with pytest.raises(InvalidValueError, match=f"would not be exact: {why}"):
        inf.train(neti, theta, reduce=True, **settings)


def test_each_setting_that_decides_a_path_commutes_with_rotations_or_is_asked_for():
    """A new one belongs here, and in ``plan`` of ``infflow/reduced_run.py`` if it does not."""
    commute = {"t_end", "rtol", "atol", "step_size", "solver_options", "num_trajectory", "t_eval"}
    asked = {
        "solver",
        "eta",
        "dynamics",
        "batch_size",
    }  # batches are for samples, which a NetI has not
    assert commute | asked == {
        name for name, item in FIELDS.items() if item.metadata["decides"] == PATH
    }


def test_many_inputs_of_equal_variance_need_no_covariance():
    """Above 500 inputs the covariance is not written down; below, the same loss comes from one."""
    neti, theta = problem(dim=600)
    wide = neti.replace(input=inf.Gaussian(np.full(600, 0.1), 2.0))
    dense = neti.replace(input=inf.Gaussian(np.full(600, 0.1), 2.0 * np.eye(600)))
    v = np.random.default_rng(0).normal(size=neti.num_params)
    first, second = (net.evaluate(theta, 1) for net in (wide, dense))
    np.testing.assert_allclose(first.value, second.value, rtol=1e-13)
    np.testing.assert_allclose(first.g, second.g, atol=1e-13)
    np.testing.assert_allclose(wide.hvp(theta, v), dense.hvp(theta, v), atol=1e-12)
    np.testing.assert_allclose(inf.hessian(wide, theta), inf.hessian(dense, theta), atol=1e-12)
    np.testing.assert_array_equal(wide.input.cov, dense.input.cov)
    samples = [net.input.sample(3, 0) for net in (wide, dense)]
    np.testing.assert_allclose(*samples, rtol=1e-14)
    for a, b in zip(inf.overlaps(wide, theta), inf.overlaps(dense, theta), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    red = inf.reduce(wide, theta)
    assert red.input_dim == 6
    np.testing.assert_allclose(red.net.evaluate(red.theta).value, first.value, rtol=1e-13)
    np.testing.assert_allclose(
        inf.hessian_eigenvalues(wide, theta).values,
        inf.hessian_eigenvalues(dense, theta).values,
        atol=1e-12,
    )
    with pytest.raises(InvalidValueError, match="cov is -1; a variance is not negative"):
        inf.Gaussian(np.zeros(10**6), -1.0)
    D = 200_000
    many, start = problem(dim=D)
    many = many.replace(input=inf.Gaussian(np.full(D, 0.01), 0.5))
    run = inf.train(many, start, max_steps_flow=20, max_steps_newton=0)
    assert run.reduction.startswith("reduced") and run.theta.shape == start.shape


def test_other_objectives_are_not_reduced():
    net = inf.Net([(1, "identity", False)], input=np.eye(3), target=np.arange(3.0))
    assert inf.train(net, np.zeros(3)).reduction == ""
    with pytest.raises(InvalidValueError, match="net is a Net, and only a NetI is known"):
        inf.train(net, np.zeros(3), reduce=True)


def test_functions_see_all_parameters():
    neti, theta = problem()
    seen = []

    def callback(now):
        gradient = inf.gradient(neti, now.theta)
        seen.append((now.stage, abs(np.abs(gradient).max() - now.gradient_norm), now.theta.shape))

    observables = {"norm": np.linalg.norm, "loss": lambda x: inf.loss(neti, x)}
    run = inf.train(neti, theta, callback=callback, observables=observables)
    assert {stage for stage, _, _ in seen} == {"flow", "newton"}
    assert max(gap for _, gap, _ in seen) < 1e-13
    assert all(shape == theta.shape for _, _, shape in seen)
    track = run.trajectory
    np.testing.assert_allclose(track.observables["norm"], np.linalg.norm(track.theta, axis=1))
    np.testing.assert_allclose(track.observables["loss"], track.loss, rtol=1e-12)
    np.testing.assert_array_equal(track.point(3), track.theta[3])


def test_observables_by_name_are_those_of_the_whole_network():
    neti, theta = problem("two eigenvalues")
    settings = {"rtol": 1e-9, "atol": 1e-9, "t_end": 2.0, "t_eval": [0.0, 2.0]}
    run, whole = both(
        neti, theta, observables=["lambda_min", "overlaps"], max_steps_newton=0, **settings
    )
    for name in ("lambda_min", "overlaps"):
        expected = whole.trajectory.observables[name]
        np.testing.assert_allclose(run.trajectory.observables[name], expected, atol=1e-6)


def test_files_hold_few_numbers_and_give_all(tmp_path):
    neti, theta = plain(dim=2000)
    run = inf.train(neti, theta, num_trajectory=50)
    run.save(tmp_path / "run.npz")
    with np.load(tmp_path / "run.npz") as file:
        assert file["trajectory_short"].shape[1] == 21 and "trajectory_theta" not in file
    again = inf.Result.load(tmp_path / "run.npz")
    copy = pickle.loads(pickle.dumps(run))
    for other in (again, copy):
        np.testing.assert_array_equal(other.trajectory.theta, run.trajectory.theta)
        np.testing.assert_array_equal(other.trajectory.gradient_norm, run.trajectory.gradient_norm)
        np.testing.assert_array_equal(other.theta_flow, run.theta_flow)
        assert other.reduction == run.reduction and repr(other) == repr(run)
    assert "reduced to the span of weights: 6 of 2,000 inputs" in repr(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays, meta: arrays.pop("rotation_basis"), "rotation basis has shape"),
        (lambda arrays, meta: arrays.pop("rotation_start"), "rotation basis has shape"),
        (lambda arrays, meta: arrays.update(rotation_basis=np.eye(20, 5)), "do not fit"),
        (lambda arrays, meta: arrays.update(rotation_start=np.ones(20)), "do not fit"),
        (lambda arrays, meta: arrays.pop("trajectory_short"), "trajectory short has shape None"),
        (lambda arrays, meta: arrays["rotation_basis"].fill(np.nan), "rotation basis is not"),
        (lambda arrays, meta: arrays["rotation_start"].fill(np.inf), "rotation start is not"),
        (lambda arrays, meta: meta.update(format=1), "trajectory theta has shape None"),
    ],
)
def test_damaged_files_are_refused(change, message, tmp_path):
    neti, theta = plain()
    path = tmp_path / "run.npz"
    inf.train(neti, theta, max_steps_flow=5, max_steps_newton=0).save(path)
    arrays, metadata = load_archive(path, "infflow.Result")
    change(arrays, metadata)
    save_archive(path, metadata.pop("kind"), arrays, metadata)
    with pytest.raises(StorageError, match=message):
        inf.Result.load(path)


def test_a_checkpoint_goes_on_bit_for_bit(tmp_path):
    neti, theta = problem()
    whole = inf.train(neti, theta)
    file = tmp_path / "run.npz"
    inf.train(neti, theta, max_steps_flow=20, max_steps_newton=0, checkpoint=file)
    parts = inf.train(neti, theta, checkpoint=file)
    np.testing.assert_array_equal(parts.theta, whole.theta)
    np.testing.assert_array_equal(parts.trajectory.theta, whole.trajectory.theta)


def test_many_starts_are_reduced_one_by_one():
    neti, theta = plain()
    runs = inf.train_many(neti, [theta, 2 * theta], n_jobs=2, progress=False)
    assert all(run.reduction.startswith("reduced") for run in runs)
    assert runs.thetas.shape == (2, len(theta))


@pytest.mark.parametrize("value", ["yes", None, 2, 0.5])
def test_reduce_is_auto_true_or_false(value):
    neti, theta = plain()
    with pytest.raises((InvalidValueError, InvalidTypeError), match="reduce"):
        inf.train(neti, theta, reduce=value)


def saddle(dim=12):
    """Squares that are to give the constant one, on a line: a saddle that the line can't see."""
    t = inf.Net([(1, "erf", True), (1, "identity", True)], input_dim=dim)
    s = inf.Net([(3, "square", False), (1, "identity", False)], input_dim=dim)
    constant = t.pack([(np.zeros((1, dim)), [0.0]), ([[0.0]], [1.0])])
    W = np.zeros((3, dim))
    W[0] = np.random.default_rng(0).normal(size=dim) / 3
    eta = np.ones(s.num_params)
    eta[3 * dim :] = 0.0
    neti = inf.NetI(s, inf.Teacher(t, constant))
    return neti, s.pack([(W, None), (np.ones((1, 3)), None)]), eta


def test_a_search_leaves_a_saddle_of_the_whole_network():
    neti, theta, eta = saddle()
    steps = []
    run = inf.train(neti, theta, eta=eta, callback=lambda now: steps.append((now.stage, now.step)))
    assert run.newton.note.count("left a saddle along an input outside of the span") == 2
    assert "(eigenvalue -1.33 of the Hessian, 11 times)" in run.newton.note
    np.testing.assert_allclose(run.loss, 0.4, rtol=1e-14)
    W = neti.unpack(run.theta)[0][0]
    np.testing.assert_allclose(W @ W.T, 0.4 * np.eye(3), atol=1e-14)
    np.testing.assert_array_equal(run.theta[eta == 0.0], theta[eta == 0.0])
    # the flow itself stays on the line
    end = neti.unpack(run.theta_flow)[0][0]
    assert not end[1:].any()
    np.testing.assert_allclose(inf.loss(neti, run.theta_flow), 2 / 3, rtol=1e-9)
    searched = [step for stage, step in steps if stage == "newton"]
    # the last step ended the search before the callback was asked
    assert searched == sorted(searched) and searched[-1] == run.newton.steps - 1
    exact = np.abs(inf.gradient(neti, run.theta)[eta > 0.0]).max()
    assert abs(exact - run.gradient_norm) < 1e-14


def test_a_search_on_a_saddle_stops_where_no_steps_are_left():
    neti, theta, eta = saddle()
    first = inf.train(neti, theta, eta=eta, max_steps_newton=1)
    assert first.newton.steps <= 1 and not first.converged


# --------------------------------------------------------------------------------- classification


def classified(monkeypatch, neti, theta, **settings):
    few = inf.classify(neti, theta, **settings)
    with monkeypatch.context() as patch:
        patch.setattr(InFewInputs, "of", classmethod(lambda *_: None))
        whole = inf.classify(neti, theta, **settings)
    assert few.reduction and not whole.reduction
    return few, whole


def kinds(found):
    return [(each.symmetry, each.layer, each.neurons, each.dimension) for each in found.flat]


@pytest.mark.parametrize("kind", ["standard", "singular", "spike and mean"])
@pytest.mark.parametrize(("f", "K", "M"), [("erf", 3, 3), ("relu", 2, 3), ("erf", 4, 2)])
def test_points_are_classified_as_in_all_parameters(kind, f, K, M, monkeypatch):
    neti, theta = problem(kind, f, K, M)
    found = inf.train(neti, theta, max_time_flow=20.0)
    few, whole = classified(monkeypatch, neti, found)
    assert few.kind is whole.kind and few.index == whole.index
    assert kinds(few) == kinds(whole)
    scale = np.abs(whole.eigenvalues).max()
    spectrum = np.repeat(few.eigenvalues, few.multiplicities)
    np.testing.assert_allclose(spectrum, whole.eigenvalues, atol=1e-13 * scale)
    np.testing.assert_array_equal(whole.multiplicities, 1)
    np.testing.assert_allclose(few.newton.step, whole.newton.step, atol=1e-10)
    # the terms of the loss are ten times larger than it
    np.testing.assert_allclose(few.loss, whole.loss, rtol=1e-12, atol=1e-28)
    np.testing.assert_allclose(few.gradient_norm, whole.gradient_norm, atol=1e-14)
    assert "judged in the span of weights: " in str(few)


def test_the_index_of_a_saddle_counts_all_inputs(monkeypatch):
    neti, theta, eta = saddle()
    end = inf.train(neti, theta, eta=eta, max_steps_newton=0).theta
    few, whole = classified(monkeypatch, neti, end, eta=eta)
    assert few.index == whole.index == 22  # two neurons, eleven inputs


def test_dead_neurons_are_flat_in_all_inputs(monkeypatch):
    neti, theta = plain(K=2, M=2)
    W, _ = neti.unpack(theta)[0]
    W[:] = neti.teacher.net.unpack(neti.teacher.theta)[0][0]
    s = inf.Net([(3, "erf", False), (1, "identity", False)], input_dim=20)
    wide = neti.replace(student=s)
    more = s.pack([(np.vstack([W, np.ones(20)]), None), (np.array([[1.0, 1.0, 0.0]]), None)])
    few, whole = classified(monkeypatch, wide, more)
    assert kinds(few) == kinds(whole)
    assert sum(each.dimension for each in few.flat) == 20


def test_rows_that_are_frozen_in_part_are_judged_in_all_inputs():
    neti, theta = plain()
    frozen = np.zeros(len(theta), dtype=bool)
    frozen[3] = True
    assert inf.classify(neti, theta, frozen=frozen).reduction == ""
    frozen[:20] = True
    assert inf.classify(neti, theta, frozen=frozen).reduction


# -------------------------------------------------------------------------------------- bad input


def test_points_outside_of_the_span_are_refused():
    neti, theta = plain()
    red = inf.reduce(neti, theta)
    moved = theta.copy()
    moved[20:40] += 1e-3
    with pytest.raises(
        InvalidValueError, match="theta is not in the span: the weights of neuron 1"
    ):
        red.restrict(moved)
    moved = theta.copy()
    moved[-3:] = 7.0  # output weights are free
    np.testing.assert_array_equal(red.lift(red.restrict(moved))[-3:], 7.0)
    with pytest.raises(InvalidValueError, match="theta has shape"):
        red.lift(theta)


def test_networks_that_cannot_be_reduced_are_refused():
    net = inf.Net([(1, "identity", False)], input=np.eye(3), target=np.arange(3.0))
    with pytest.raises(InvalidTypeError, match=r"an inf\.NetI is needed"):
        inf.reduce(net, np.zeros(3))
    neti, theta = plain()

    class Strange(inf.Teacher):
        pass

    other = neti.replace(teacher=Strange(neti.teacher.net, neti.teacher.theta))
    with pytest.raises(MethodError, match="the teacher is a Strange"):
        inf.reduce(other, theta)
    assert inf.train(other, theta, max_steps_flow=1, max_steps_newton=0).reduction == ""


def test_one_more_input_keeps_the_network():
    neti, theta = problem("two eigenvalues")
    red = inf.reduce(neti, theta)
    wider = red.outward(1, red.theta)
    assert isinstance(wider, Reduction) and wider.multiplicities == (7, 12)
    np.testing.assert_allclose(wider.lift(wider.theta), theta, atol=1e-14)
    np.testing.assert_allclose(
        wider.net.evaluate(wider.theta).value, neti.evaluate(theta).value, rtol=1e-14
    )
    assert isinstance(wider._span, Span) and isinstance(wider._span.left[0], Left)


@pytest.mark.parametrize("loss", ["squared", "correlation"])
@pytest.mark.parametrize("parametrization", ["standard", "ntk"])
def test_teachers_that_are_polynomials(parametrization, loss):
    V = np.linalg.qr(np.random.default_rng(0).normal(size=(25, 3)))[0].T
    teacher = inf.PolynomialTeacher({(1, 1, 1): 1.0, (2, 0, 0): 0.5}, V)
    layers = [(2, "erf", True), (1, "identity", False)]
    s = inf.Net(layers, input_dim=25, parametrization=parametrization)
    neti = inf.NetI(s, teacher, loss=loss)
    theta = inf.random_params(s, rng=2, init="standard_normal")
    red = inf.reduce(neti, theta)
    assert red.input_dim == 5
    assert_agrees(red, neti, theta, 1e-12)
