"""Surrogates: files, networks that use them, moments, checks, export, command line.

Most tests use forms that are written here: one that is exact (erf is a smoothed step), and random
ones, of which everything but their accuracy can be tested.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import infflow as inf
from infflow.activations import resolve
from infflow.cli import app
from infflow.errors import (
    AccuracyWarning,
    InvalidTypeError,
    InvalidValueError,
    MethodError,
    OutsideDomainError,
    StorageError,
)
from infflow.integrals.surrogate import files as surrogate_files
from infflow.integrals.surrogate.form import Part, SurrogateForm, random_form
from infflow.surrogates import measure as errors

SETTINGS = {"r": [0.0, 10.0]}
SHIPPED = inf.surrogates.available()


def exact_form():
    """Of erf(x/sqrt 2), which is a step smoothed with width 1, twice, minus 1."""
    part = Part(1, widths=np.ones(1), weights=np.full(1, 2.0), polynomial=0.0)
    return SurrogateForm.of_parts("erf", {"odd": part}, SETTINGS)


@pytest.fixture(scope="module", autouse=True)
def small_held_out_sets():
    """Cards of 20,000 points and 100 networks take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(errors, "HELD_OUT", (1000, 300))
        patch.setattr(errors, "NETWORKS", (10, 5))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Surrogates of erf (exact) and of tanh (random)."""
    found = tmp_path_factory.mktemp("surrogates")
    inf.surrogates.save(exact_form(), {"seed": 0}, found)
    form = random_form("tanh", np.random.default_rng(1), width=12)
    inf.surrogates.save(SurrogateForm("tanh", form.arrays, SETTINGS), {}, found)
    return found


@pytest.fixture
def copy(folder, tmp_path):
    """A copy to be damaged."""
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def network(activation, width, input_dim=3, outputs=2, hidden_bias=False, output_bias=False):
    return inf.Net(
        [(width, activation, hidden_bias), (outputs, "identity", output_bias)], input_dim=input_dim
    )


def setting(activation="tanh", students=3, teachers=2, rng=3, **kwargs):
    """A NetI and parameters of the student."""
    generator = np.random.default_rng(rng)
    student = network(activation, students)
    teacher = network(activation, teachers)
    theta = generator.normal(size=student.num_params)
    return inf.NetI(
        student, inf.Teacher(teacher, generator.normal(size=teacher.num_params)), **kwargs
    ), theta


# --------------------------------------------------------------------------------------------------
# networks


def test_an_exact_form_gives_the_exact_network(folder):
    surrogate, theta = setting("erf", method="surrogate", surrogates_dir=folder)
    exact = surrogate.with_method("closed")
    found, wanted = (net.evaluate(theta, 2) for net in (surrogate, exact))
    assert found.value == pytest.approx(wanted.value, abs=1e-14)
    np.testing.assert_allclose(found.gradient, wanted.gradient, atol=2e-14)
    np.testing.assert_allclose(found.hessian, wanted.hessian, atol=5e-14)


def parallel(net, theta):
    """The students at, opposite to and close to teacher neurons, or close to zero."""
    (W, _), (A, c) = (
        tuple(np.copy(x) if x is not None else None for x in pair) for pair in net.unpack(theta)
    )
    V = net.teacher_units.W
    W[0] = V[0]
    W[1] = -0.7 * V[1]
    W[2] = 1e-7 * V[0]
    return net.pack([(W, None), (A, c)])


@pytest.mark.parametrize("move", [lambda net, theta: theta, parallel], ids=["generic", "parallel"])
@pytest.mark.parametrize(
    "input", [None, inf.Gaussian(np.zeros(3), np.diag([0.5, 1.0, 1.7]))], ids=["standard", "scaled"]
)
def test_gradient_and_hessian_are_those_of_the_surrogate_loss(folder, move, input):
    net, theta = setting(method="surrogate", surrogates_dir=folder, input=input)
    theta = move(net, theta)
    at = net.evaluate(theta, 2)
    rng = np.random.default_rng(0)
    for direction in (*rng.normal(size=(3, net.num_params)), np.eye(net.num_params)[1]):
        direction /= np.linalg.norm(direction)

        def along(t, order, direction=direction):
            found = net.evaluate(theta + t * direction, order)
            return found.value if order == 0 else found.gradient

        # central differences of order 8: truncation and rounding are both near 1e-11 with this step
        weights = np.array([4 / 5, -1 / 5, 4 / 105, -1 / 280])
        h = 0.01

        def difference(order, along=along, weights=weights, h=h):
            return (
                sum(
                    w * (along(k * h, order) - along(-k * h, order))
                    for k, w in enumerate(weights, 1)
                )
                / h
            )

        assert difference(0) == pytest.approx(at.gradient @ direction, rel=1e-9, abs=1e-9)
        np.testing.assert_allclose(difference(1), at.hessian @ direction, rtol=1e-9, atol=1e-8)
    V = rng.normal(size=(net.num_params, 2))
    np.testing.assert_allclose(
        net.hvp(theta, V), at.hessian @ V, atol=1e-12 * np.abs(at.hessian).max()
    )
    np.testing.assert_array_equal(at.hessian, at.hessian.T)


def test_the_orders_agree(folder):
    net, theta = setting(method="surrogate", surrogates_dir=folder)
    values = [net.evaluate(theta, order).value for order in range(3)]
    assert values == pytest.approx([values[0]] * 3, rel=1e-13)


def test_fewer_derivatives_are_the_same(folder):
    """Jets of 1, 4 and 10 rows."""
    form = inf.surrogates.load("tanh", folder).form
    r1, r2, u = points()
    full, gradient, value = (form.jet(r1**2, r1 * r2 * u, r2**2, rows) for rows in (10, 4, 1))
    np.testing.assert_allclose(gradient, full[:4], rtol=1e-14)
    np.testing.assert_allclose(value, full[:1], rtol=1e-14)


def test_a_pair_outside_of_the_domain_is_named(folder):
    net, theta = setting(students=2, method="surrogate", surrogates_dir=folder)
    (W, b), second = net.unpack(theta)
    W = np.array(W)
    W[1] *= 11.0 / np.linalg.norm(W[1])
    theta = net.pack([(W, b), second])
    with pytest.raises(
        OutsideDomainError,
        match=r"student neuron 0 and student neuron 1 .*r2 = 11, u = .*outside='exact'",
    ):
        net.evaluate(theta)
    # pairs of neuron 1 are exact then, and those of the random form of neuron 0 are not
    both = inf.NetI(
        net.student, net.teacher, method="surrogate", outside="exact", surrogates_dir=folder
    )
    jets = both._states(theta, 2)[0].jets
    exact, plain = (
        n._states(theta, 2)[0].jets for n in (net.with_method("auto"), net_within(net, theta))
    )
    np.testing.assert_allclose(jets[1, 1, [0, 15]], exact[1, 1, [0, 15]], rtol=1e-9)
    np.testing.assert_allclose(jets[0, 1], exact[0, 1], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(jets[0, 3], plain[0, 3], rtol=1e-13)
    assert "outside of the domain" in both.explain(theta)
    assert "surrogate" in both.explain()


def net_within(net, theta):
    """The same network with a domain that reaches further."""
    import copy

    found = copy.deepcopy(net)
    for part in found._components:
        evaluator = part.loss.evaluator.evaluators.by_name["surrogate"]
        evaluator._surrogates = [
            s if s is None else surrogate_files.Surrogate(s.form, s.card, 0.0, 20.0, s.path)
            for s in evaluator._surrogates
        ]
    return found


def test_a_teacher_outside_of_the_domain_is_named(folder):
    net = network("tanh", 2)
    theta = np.full(net.num_params, 8.0)
    with pytest.raises(OutsideDomainError, match=r"teacher neuron 0 .*r1 = 13\.85"):
        inf.NetI(net, inf.Teacher(net, theta), method="surrogate", surrogates_dir=folder)


@pytest.mark.parametrize(
    ("student", "teacher", "input", "message"),
    [
        ({"hidden_bias": True}, {}, None, "student's hidden neurons have biases"),
        ({"output_bias": True}, {}, None, "output bias"),
        ({}, {"output_bias": True}, None, "output bias"),
        ({}, {"hidden_bias": True}, None, "teacher neuron 0 .*b1 = "),
        ({}, {}, inf.Gaussian(np.ones(3), np.eye(3)), "input has a mean"),
    ],
)
def test_biases_are_refused_or_exact(folder, student, teacher, input, message):
    rng = np.random.default_rng(0)
    student = network("tanh", 2, **student)
    teacher = network("tanh", 2, **teacher)
    given = inf.Teacher(teacher, rng.normal(size=teacher.num_params))
    theta = rng.normal(size=student.num_params)
    with pytest.raises((MethodError, OutsideDomainError), match=message):
        inf.NetI(student, given, input=input, method="surrogate", surrogates_dir=folder)
    net = inf.NetI(
        student, given, input=input, method="surrogate", outside="exact", surrogates_dir=folder
    )
    found = net.evaluate(theta, 2)
    exact = net.with_method("auto").evaluate(theta, 2)
    H = np.array(
        [
            (net.evaluate(theta + e, 1).gradient - net.evaluate(theta - e, 1).gradient) / 2e-5
            for e in 1e-5 * np.eye(len(theta))
        ]
    )
    np.testing.assert_allclose(found.hessian, H, atol=1e-6)  # differences of second order
    if message.startswith(("student", "input")):  # nothing is left for the surrogate
        np.testing.assert_array_equal(found.hessian, exact.hessian)
    else:
        assert np.abs(found.value - exact.value) > 1e-3


def test_zero_biases_of_the_teacher_do_no_harm(folder):
    student = network("tanh", 2)
    teacher = network("tanh", 2, hidden_bias=True, output_bias=True)
    rng = np.random.default_rng(0)
    (W, b), (A, c) = teacher.unpack(rng.normal(size=teacher.num_params))
    theta = rng.normal(size=student.num_params)
    plain = network("tanh", 2)
    with_zeros = inf.Teacher(teacher, teacher.pack([(W, 0 * b), (A, 0 * c)]))
    without = inf.Teacher(plain, plain.pack([(W, None), (A, None)]))
    losses = [
        inf.loss(inf.NetI(student, t, method="surrogate", surrogates_dir=folder), theta)
        for t in (with_zeros, without)
    ]
    assert losses[0] == losses[1]


def test_activations_without_a_surrogate(folder):
    relu = network("relu", 2)
    mixed = network(["tanh", "erf"], 2)
    rng = np.random.default_rng(0)
    theta = rng.normal(size=mixed.num_params)
    with pytest.raises(
        MethodError, match=r"no surrogate for the activation 'relu'.*found: .*erf.*train"
    ):
        inf.NetI(relu, inf.Teacher(relu, theta), method="surrogate", surrogates_dir=folder)
    with pytest.raises(
        MethodError,
        match=r"student neuron 0 \(tanh\) and student neuron 1 \(erf\).*different activations",
    ):
        inf.NetI(mixed, inf.Teacher(mixed, theta), method="surrogate", surrogates_dir=folder)
    for student in (relu, mixed):
        given = inf.Teacher(student, theta), theta + 0.1
        net = inf.NetI(
            student, given[0], method="surrogate", outside="exact", surrogates_dir=folder
        )
        exact = net.with_method("auto")._states(given[1], 2)[0].jets
        jets = net._states(given[1], 2)[0].jets
        for i, j in ((0, 1), (0, 4)):
            np.testing.assert_allclose(jets[i, j], exact[i, j], rtol=1e-9, atol=1e-12)
    own = inf.Activation.from_callable(
        "tanh", np.sin, [np.cos, lambda x: -np.sin(x)]
    )  # another function of that name
    with pytest.raises(MethodError, match="no surrogate"):
        inf.NetI(
            network(own, 2),
            inf.Teacher(network(own, 2), theta),
            method="surrogate",
            surrogates_dir=folder,
        )
    assert inf.available_methods(own, own)[-1] != "surrogate"


def test_function_teachers_need_surrogates_of_the_students_only(folder):
    student = network("erf", 2, input_dim=2, outputs=1)
    teacher = inf.FunctionTeacher(lambda z: np.sin(z[:, 0]), np.array([[1.0, 0.5]]))
    theta = np.random.default_rng(0).normal(size=student.num_params)
    found, exact = (
        inf.NetI(student, teacher, method=method, **more).evaluate(theta, 2)
        for method, more in (("surrogate", {"surrogates_dir": folder}), ("closed", {}))
    )
    np.testing.assert_allclose(found.hessian, exact.hessian, atol=1e-13)


def test_arguments_of_the_network(folder):
    net = network("tanh", 2)
    teacher = inf.Teacher(net, np.ones(net.num_params))
    with pytest.raises(InvalidValueError, match="outside and surrogates_dir are for"):
        inf.NetI(net, teacher, outside="exact")
    with pytest.raises(InvalidValueError, match="outside 'exactly' is not known"):
        inf.NetI(net, teacher, method="surrogate", outside="exactly")


def test_a_flow_on_an_exact_form_is_the_exact_flow(folder):
    surrogate, theta = setting("erf", method="surrogate", surrogates_dir=folder)
    runs = [
        inf.train(net, theta, solver="rodas5p", t_end=10.0, max_steps_newton=0, progress=False)
        for net in (surrogate, surrogate.with_method("closed"))
    ]
    np.testing.assert_allclose(runs[0].theta_flow, runs[1].theta_flow, atol=1e-10)


@pytest.mark.parametrize(
    "solver", ["gear", "cvode_bdf", "rodas5p", "tsit5", "kencarp58", "exprb", "lsoda", "radau"]
)
def test_a_flow_ends_at_the_border_and_names_the_pair(tmp_path, solver):
    """Steps out of the domain are rejected; some stages then are of NaN, which no
    objective sees.
    """
    inf.surrogates.save(SurrogateForm("erf", exact_form().arrays, {"r": [0.0, 1.0]}), {}, tmp_path)
    net = network("erf", 1, input_dim=2, outputs=1)
    teacher = inf.Teacher(net, np.array([0.9, 0.3, 3.0]))
    neti = inf.NetI(net, teacher, method="surrogate", surrogates_dir=tmp_path)
    # the output weight stays at 1, so that the hidden ones want to grow
    result = inf.train(
        neti,
        np.array([0.3, 0.1, 1.0]),
        eta=np.array([1.0, 1.0, 0.0]),
        solver=solver,
        progress=False,
    )
    assert result.status.name == "NON_FINITE"
    assert (
        "student neuron 0 lies outside of the domain of the surrogate for erf (0 <= r <= 1"
        in repr(result)
    )
    assert np.linalg.norm(result.theta_flow[:2]) == pytest.approx(1.0, abs=1e-4)
    with pytest.raises(InvalidValueError, match="student neuron 0 lies outside"):
        inf.train(neti, np.array([2.0, 0.0, 1.0]), solver=solver, progress=False)


def perturbed(folder, size):
    """A surrogate of erf that errs by about ``size``, by a perceptron, which need not be a positive
    kernel.
    """
    rng = np.random.default_rng(0)
    (W1, b1), (W2, b2), (W3, b3) = (
        (rng.normal(size=shape), rng.normal(size=shape[0])) for shape in ((6, 3), (6, 6), (1, 6))
    )
    part = Part(
        1, np.ones(1), np.full(1, 2.0), 0.0, network=[(W1, b1), (W2, b2), (size * W3, size * b3)]
    )
    inf.surrogates.save(SurrogateForm.of_parts("erf", {"odd": part}, SETTINGS), {}, folder)


def test_polish_ends_at_the_exact_fixed_point(tmp_path):
    perturbed(tmp_path, 1e-3)
    rng = np.random.default_rng(2)
    student = network("erf", 2, outputs=1)
    teacher = network("erf", 4, outputs=1)
    theta = rng.normal(size=student.num_params)
    given = inf.Teacher(teacher, rng.normal(size=teacher.num_params))
    net = inf.NetI(student, given, method="surrogate", surrogates_dir=tmp_path)
    plain, polished = (
        inf.train(net, theta, polish=polish, progress=False) for polish in (None, "exact")
    )
    exact = net.with_method("auto")
    assert polished.converged
    assert inf.loss(exact, polished.theta) == pytest.approx(polished.loss, rel=1e-13)
    assert np.abs(inf.gradient(exact, polished.theta)).max() < 1e-13
    assert (
        np.abs(inf.gradient(net, plain.theta)).max() < 1e-13
    )  # Newton on the surrogate's own Hessian
    assert np.abs(inf.gradient(exact, plain.theta)).max() > 1e-5
    assert polished.surrogate_loss == pytest.approx(inf.loss(net, polished.theta), rel=1e-13)
    assert plain.surrogate_loss is None
    assert "(exact; the surrogate's" in repr(polished)
    np.testing.assert_allclose(polished.theta_flow, plain.theta_flow, rtol=1e-12)
    polished.save(tmp_path / "result")
    assert inf.Result.load(tmp_path / "result").surrogate_loss == polished.surrogate_loss


def test_polish_where_the_surrogate_loss_is_negative(tmp_path):
    """At the teacher it is zero up to rounding of either sign, which must not end the flow."""
    perturbed(tmp_path, 1e-4)
    rng = np.random.default_rng(0)
    net = network("erf", 2, outputs=1)
    other = network("erf", 2, outputs=1)
    theta = rng.normal(size=net.num_params)
    neti = inf.NetI(net, inf.Teacher(other, theta), method="surrogate", surrogates_dir=tmp_path)
    result = inf.train(
        neti, theta + 0.05 * rng.normal(size=len(theta)), polish="exact", progress=False
    )
    assert abs(result.trajectory.loss[-1]) < 1e-14  # rounding of terms of order one, of either sign
    assert result.flow.stop_reason.name == "HANDOVER"
    assert result.converged
    assert result.loss < 1e-25
    np.testing.assert_allclose(result.theta, theta, atol=1e-10)


def test_polish_of_an_interrupted_run_reports_the_exact_loss(folder):
    net, theta = setting("erf", method="surrogate", surrogates_dir=folder)
    result = inf.train(
        net, theta, polish="exact", callback=lambda now: now.step >= 3, progress=False
    )
    assert result.status.name == "CALLBACK"
    assert result.loss == pytest.approx(inf.loss(net.with_method("auto"), result.theta), rel=1e-13)


def test_polish_needs_a_surrogate_and_a_second_stage(folder):
    net, theta = setting("erf", method="surrogate", surrogates_dir=folder)
    with pytest.raises(InvalidValueError, match="polish='exact' is for"):
        inf.train(net.with_method("auto"), theta, polish="exact")
    with pytest.raises(InvalidValueError, match="max_steps_newton is 0"):
        inf.train(net, theta, polish="exact", max_steps_newton=0)
    with pytest.raises(InvalidValueError, match="polish 'exactly' is not known"):
        inf.train(net, theta, polish="exactly")


# --------------------------------------------------------------------------------------------------
# moments


def test_moments_by_the_heat_equation(folder, monkeypatch):
    monkeypatch.setenv("INFFLOW_SURROGATES", str(folder))
    rng = np.random.default_rng(0)
    r1, r2, u = *rng.uniform(0.0, 10.0, (2, 50)), rng.uniform(-1.0, 1.0, 50)
    u[:4] = [1.0, -1.0, 0.0, 1.0]
    r1[2:4] = 1e-3, 1e-2
    for orders in [(0, 0), (2, 0), (1, 1), (0, 2), (4, 0), (3, 1), (2, 2), (1, 3), (0, 4)]:
        found = inf.gaussian_moment(
            "erf", "erf", r1, r2, u, orders=orders, method="surrogate", rtol=1e-8
        )
        exact = inf.gaussian_moment("erf", "erf", r1, r2, u, orders=orders, method="closed")
        np.testing.assert_allclose(found, exact, rtol=1e-11, atol=1e-13)
    assert inf.available_methods("erf", "erf") == (
        "closed",
        "hermite",
        "numeric",
        "cubature",
        "surrogate",
    )
    assert "surrogate" not in inf.available_methods("erf", "tanh")


def test_moments_that_no_surrogate_gives(folder, monkeypatch):
    monkeypatch.setenv("INFFLOW_SURROGATES", str(folder))

    def moment(*args, **kwargs):
        return inf.gaussian_moment(*args, method="surrogate", **kwargs)

    with pytest.raises(MethodError, match=r"orders is \(1, 0\).*\(1, 1\)"):
        moment("erf", "erf", 1.0, 1.0, 0.5, orders=(1, 0))
    with pytest.raises(MethodError, match="b1 and b2 must be 0"):
        moment("erf", "erf", 1.0, 1.0, 0.5, 0.1)
    with pytest.raises(InvalidValueError, match=r"r2 contains 10\.1, outside"):
        moment("erf", "erf", 1.0, 10.1, 0.5)
    with pytest.raises(MethodError, match="not defined for 'erf' and 'tanh'"):
        moment("erf", "tanh", 1.0, 1.0, 0.5)
    with pytest.raises(MethodError, match="not defined"):
        inf.gaussian_mean("erf", 1.0, method="surrogate")
    with pytest.warns(AccuracyWarning, match="error bound"):
        full = moment("tanh", "tanh", 1.0, 1.0, 0.5, full_output=True)
    card = inf.surrogates.card("tanh")
    assert full.error_bound == card["errors"]["value"]["maximum"]
    # "auto" never takes a surrogate
    assert (
        inf.gaussian_moment("tanh", "tanh", 1.0, 1.0, 0.5, full_output=True).method != "surrogate"
    )


# --------------------------------------------------------------------------------------------------
# files


def test_a_card_says_what_was_written(folder):
    card = inf.surrogates.card("tanh", folder)
    assert card["sha256"] == hashlib.sha256((folder / "tanh.npz").read_bytes()).hexdigest()
    assert card["domain"] == {"r": [0.0, 10.0], "u": [-1.0, 1.0], "biases": False}
    assert card["infflow"] == inf.__version__
    assert set(card["errors"]) == {"value", "gradient", "hessian"}
    for statistics in card["errors"].values():
        assert statistics["median"] <= statistics["99%"] <= statistics["maximum"]
    assert card["parameters"] == sum(
        a.size for a in inf.surrogates.load("tanh", folder).form.arrays.values()
    )


def test_what_is_saved_is_loaded(folder):
    form = random_form("tanh", np.random.default_rng(1), width=12)
    loaded = inf.surrogates.load("tanh", folder)
    points = np.random.default_rng(0).uniform(0.1, 1.0, (3, 20))
    np.testing.assert_array_equal(loaded(*points), form.potential(*points))
    assert isinstance(loaded(1.0, 1.0, 0.5), float)
    assert "erf" in inf.surrogates.available(folder)


def write_card(path, **changes):
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | changes))


def truncate(folder):
    content = (folder / "erf.npz").read_bytes()
    (folder / "erf.npz").write_bytes(content[:-20])


def flip(folder):
    content = bytearray((folder / "erf.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "erf.npz").write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, r"erf\.npz is truncated or was altered.*train"),
        (flip, r"erf\.npz is truncated or was altered"),
        (lambda d: (d / "erf.npz").unlink(), r"erf\.npz cannot be read"),
        (lambda d: (d / "erf.json").unlink(), r"the card .*erf\.json of erf\.npz is missing"),
        (lambda d: (d / "erf.json").write_text("{"), r"card .*erf\.json cannot be read"),
        (lambda d: (d / "erf.json").write_text("[1]"), r"erf\.json is not the card of a surrogate"),
        (
            lambda d: write_card(d / "erf.json", format=2),
            r"erf\.json has format 2, .* reads format 1\. Train it again",
        ),
        (
            lambda d: write_card(d / "erf.json", domain={"r": [0, 99]}),
            r"card .*erf\.json was altered: its 'domain'",
        ),
        (lambda d: write_card(d / "erf.json", activation="sin"), r"was altered: its 'activation'"),
        (
            lambda d: write_card(d / "erf.json", errors={}),
            r"no number for 'median' of 'value' in 'errors'",
        ),
        (
            lambda d: write_card(d / "erf.json", networks=None),
            r"no number for 'median' of 'value' in 'networks'",
        ),
        (
            lambda d: write_card(
                d / "erf.json",
                networks={key: {"median": "1"} for key in ("value", "gradient", "hessian")},
            ),
            "no number",
        ),
    ],
)
def test_damaged_files_are_named(copy, damage, message):
    assert inf.surrogates.load("erf", copy).name == "erf"
    damage(copy)
    for use in (
        lambda: inf.surrogates.load("erf", copy),
        lambda: setting("erf", method="surrogate", surrogates_dir=copy),
    ):
        with pytest.raises(StorageError, match=message):
            use()


def test_bad_arguments(folder, tmp_path, monkeypatch):
    with pytest.raises(
        MethodError, match=r"no surrogate for the activation 'nonsense' .*method='auto'"
    ):
        inf.surrogates.load("nonsense", folder)
    with pytest.raises(MethodError, match="no surrogate"):
        inf.surrogates.load("../erf", folder / "inner" if (folder / "inner").exists() else folder)
    with pytest.raises(InvalidTypeError, match="name is 3"):
        inf.surrogates.load(3)
    with pytest.raises(StorageError, match=r"no folder\. Create it"):
        inf.surrogates.available(tmp_path / "nowhere")
    with pytest.raises(StorageError, match="does not exist"):
        inf.surrogates.save(exact_form(), {}, tmp_path / "nowhere")
    with pytest.raises(InvalidTypeError, match="SurrogateForm"):
        inf.surrogates.save({}, {}, tmp_path)
    with pytest.raises(InvalidValueError, match="is for 'erf'"):
        inf.surrogates.save(exact_form(), {}, tmp_path, resolve("tanh"))
    broken = exact_form()
    broken.arrays["odd_weights"][0] = np.nan
    with pytest.raises(InvalidValueError, match=r"odd_weights.*non-finite"):
        surrogate_files.write(broken, resolve("erf"), (0.0, 1.0), {"errors": {}}, tmp_path)
    odd = SurrogateForm("a/b", exact_form().arrays, SETTINGS)
    with pytest.raises(InvalidValueError, match="needs a name of letters"):
        surrogate_files.write(odd, resolve("erf"), (0.0, 1.0), {"errors": {}}, tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("INFFLOW_SURROGATES", str(tmp_path / "nowhere"))
    with pytest.raises(StorageError, match="environment variable INFFLOW_SURROGATES"):
        inf.surrogates.available()


def test_the_own_folder_comes_first(folder, monkeypatch):
    monkeypatch.setenv("INFFLOW_SURROGATES", str(folder))
    assert inf.surrogates.load("tanh").path == folder / "tanh.npz"
    assert set(inf.surrogates.available()) == {"tanh", "erf", *SHIPPED}


# --------------------------------------------------------------------------------------------------
# errors


def test_errors_are_those_of_networks():
    """Errors of one pair are the distances of loss, gradient and Hessian of a network of one
    student and one teacher.
    """
    form = exact_form()
    f = resolve("erf")
    wrong = SurrogateForm("gelu", form.arrays, SETTINGS)  # far off, so that errors are of order one
    rng = np.random.default_rng(0)
    points = errors.sample_points(40, 0.0, 10.0, rng)
    assert errors.pointwise_errors(form, f, points).max() < 1e-13
    found = errors.pointwise_errors(wrong, resolve("gelu"), points)
    for k in np.flatnonzero(~points.own)[::3]:
        r1 = points.r1[k]
        r2 = points.r2[k]
        u = points.u[k]
        value = form.potential(*(np.array([x]) for x in (r1, r2, u)))[0]
        exact = inf.gaussian_moment("gelu", "gelu", r1, r2, u)
        assert found[k, 0] == pytest.approx(abs(value - exact), abs=1e-13)
        J20, J02 = (
            inf.gaussian_moment("erf", "erf", r1, r2, u, orders=o)
            - inf.gaussian_moment("gelu", "gelu", r1, r2, u, orders=o)
            for o in ((2, 0), (0, 2))
        )
        J11 = inf.gaussian_moment("erf", "erf", r1, r2, u, orders=(1, 1)) - inf.gaussian_moment(
            "gelu", "gelu", r1, r2, u, orders=(1, 1)
        )
        squares = (J20 * r1) ** 2 + 2 * J20 * J11 * r1 * r2 * u + (J11 * r2) ** 2
        squares += (J02 * r2) ** 2 + 2 * J02 * J11 * r1 * r2 * u + (J11 * r1) ** 2
        assert found[k, 1] == pytest.approx(np.sqrt(squares), rel=1e-9, abs=1e-13)
    for k in np.flatnonzero(points.own):  # T(w.w) by differences along w
        r = points.r1[k]

        def T(r):
            return exact_form().single(np.array([r * r]))[0, 0] - inf.gaussian_moment(
                "gelu", "gelu", r, r, 1.0
            )

        assert found[k, 0] == pytest.approx(abs(T(r)), abs=1e-13)
        h = 1e-3 * r
        slope = (8 * (T(r + h) - T(r - h)) - T(r + 2 * h) + T(r - 2 * h)) / (12 * h)
        assert found[k, 1] == pytest.approx(abs(slope), rel=1e-8)


def test_network_errors_are_the_distances(folder):
    """The measure of the paper: a second implementation by NetI."""
    form = inf.surrogates.load("tanh", folder).form
    found = errors.network_errors(form, resolve("tanh"), 2, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    for row in found:
        parts = [0.7 * rng.normal(size=shape) for shape in ((4, 6), (4, 1), (5, 6), (5, 1))]
        student = network("tanh", 4, 6, 1)
        teacher = network("tanh", 5, 6, 1)
        theta = student.pack([(parts[0], None), (parts[1].T, None)])
        given = inf.Teacher(teacher, teacher.pack([(parts[2], None), (parts[3].T, None)]))
        a = inf.NetI(student, given, method="surrogate", surrogates_dir=folder).evaluate(theta, 2)
        b = inf.NetI(student, given).evaluate(theta, 2)
        distances = [np.linalg.norm(np.subtract(x, y)) for x, y in zip(a, b, strict=True)]
        np.testing.assert_allclose(row, distances, rtol=1e-8)


def test_verify_finds_a_surrogate_that_is_worse_than_its_card(copy):
    assert inf.surrogates.verify("erf", 200, networks=5, surrogates_dir=copy).holds
    form = exact_form()
    form.arrays["odd_weights"][0] += 1e-6
    good = json.loads((copy / "erf.json").read_text())
    surrogate_files.write(
        form,
        resolve("erf"),
        (0.0, 10.0),
        {k: good[k] for k in ("errors", "networks", "training")},
        copy,
    )
    found = inf.surrogates.verify("erf", 200, networks=5, surrogates_dir=copy)
    assert not found.holds
    assert "DOES NOT HOLD" in found.table()
    assert len(found.failures) == 9 + 6  # every figure
    runner = CliRunner()
    assert (
        runner.invoke(
            app, ["surrogates", "verify", "erf", "--dir", str(copy), "--points", "100"]
        ).exit_code
        == 1
    )


def test_verify_refuses_another_function(folder):
    other = inf.Activation.from_callable("erf", np.sin, [np.cos])
    with pytest.raises(InvalidValueError, match="trained for another function"):
        inf.surrogates.verify("erf", surrogates_dir=folder, activation=other)
    with pytest.raises(InvalidValueError, match="n is 3"):
        inf.surrogates.verify("erf", 3, surrogates_dir=folder)
    with pytest.raises(InvalidValueError, match="networks is 2"):
        inf.surrogates.verify("erf", networks=2, surrogates_dir=folder)


@pytest.mark.parametrize("name", SHIPPED)
def test_cards_of_shipped_surrogates_hold(name):
    found = inf.surrogates.verify(name, 500, rng=7, networks=10)
    assert found.holds, found.table()


# --------------------------------------------------------------------------------------------------
# export


def points(n=200):
    rng = np.random.default_rng(0)
    r1, r2 = 10.0 ** rng.uniform(-6.0, 1.0, (2, n))
    u = rng.uniform(-1.0, 1.0, n)
    u[:8] = [1, 1, 1, 1, -1, -1, -1, -1]
    r2[2:6] = r1[2:6]
    return r1, r2, u


def test_export_to_numpy(folder):
    for name in ("tanh", "erf"):
        kernel = inf.surrogates.export(name, "numpy", folder)
        np.testing.assert_allclose(
            kernel(*points()), inf.surrogates.load(name, folder)(*points()), rtol=1e-12, atol=1e-12
        )
        assert kernel(np.ones((2, 1)), np.ones(3), 0.5).shape == (2, 3)
        assert np.ndim(kernel(1.0, 1.0, 0.5)) == 0
    with pytest.raises(InvalidValueError, match="format 'matlab' is not known"):
        inf.surrogates.export("erf", "matlab", folder)


def test_the_portable_file_needs_no_infflow(folder, tmp_path):
    source = Path(inf.surrogates.__file__).with_name("portable.py")
    (tmp_path / "portable.py").write_text(source.read_text())
    code = (
        "import sys, numpy as np; from portable import potential\n"
        f"arrays = dict(np.load({str(folder / 'tanh.npz')!r}, allow_pickle=False))\n"
        "assert not any('infflow' in name for name in sys.modules)\n"
        "print(repr(float(potential(arrays, 0.5, 1.2, 0.3, np))))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert float(out) == pytest.approx(
        inf.surrogates.load("tanh", folder)(0.5, 1.2, 0.3), rel=1e-12
    )


def derivative(folder):
    """dG/du from the derivatives of the form."""
    r1, r2, u = points()
    det = (r1 * r2) ** 2 * (1 - u) * (1 + u)
    return (
        r1
        * r2
        * inf.surrogates.load("tanh", folder).form.jet(r1**2, r1 * r2 * u, r2**2, det=det)[2]
    )


def test_export_to_jax(folder):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    kernel = inf.surrogates.export("tanh", "jax", folder)
    np.testing.assert_allclose(
        kernel(*points()), inf.surrogates.load("tanh", folder)(*points()), rtol=1e-12, atol=1e-12
    )
    slope = jax.jit(jax.vmap(jax.grad(kernel, 2)))(*points())
    np.testing.assert_allclose(slope, derivative(folder), rtol=1e-11, atol=1e-12)
    curvature = jax.vmap(jax.grad(jax.grad(kernel, 0), 1))(*points())
    assert np.isfinite(curvature).all()


def test_export_to_torch(folder):
    torch = pytest.importorskip("torch")
    kernel = inf.surrogates.export("tanh", "torch", folder)
    r1, r2, u = (torch.tensor(x) for x in points())
    u.requires_grad_()
    value = kernel(r1, r2, u)
    np.testing.assert_allclose(
        value.detach(), inf.surrogates.load("tanh", folder)(*points()), rtol=1e-12, atol=1e-12
    )
    value.sum().backward()
    np.testing.assert_allclose(u.grad, derivative(folder), rtol=1e-11, atol=1e-12)
    assert kernel(1.0, 1.0, 0.5).dtype == torch.float64


# --------------------------------------------------------------------------------------------------
# command line


def test_command_line(folder):
    runner = CliRunner()
    found = runner.invoke(app, ["surrogates", "list", "--dir", str(folder)])
    assert found.exit_code == 0
    assert "erf" in found.stdout
    cards = json.loads(
        runner.invoke(app, ["surrogates", "list", "--dir", str(folder), "--json"]).stdout
    )
    assert set(cards) == {"tanh", "erf", *SHIPPED}
    verified = runner.invoke(
        app,
        [
            "surrogates",
            "verify",
            "erf",
            "--dir",
            str(folder),
            "--points",
            "100",
            "--networks",
            "5",
            "--json",
        ],
    )
    assert verified.exit_code == 0
    assert json.loads(verified.stdout)["erf"]["holds"] is True


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["verify", "nonsense"], 2),
        (["verify", "erf", "--points", "1"], 2),
        (["verify", "erf", "--activation-from", "nonsense"], 2),
        (["verify", "erf", "--activation-from", "no_such_module:f"], 2),
        (["verify", "erf", "--activation-from", "math:pi"], 2),
        (["verify", "erf", "tanh", "--activation-from", "math:pi"], 2),
        (["train", "nonsense"], 2),
        (["train", "other", "--activation-from", "infflow.activations:TANH"], 2),
        (["list", "--bad"], 2),
    ],
)
def test_bad_usage(folder, monkeypatch, arguments, code):
    monkeypatch.setenv("INFFLOW_SURROGATES", str(folder))
    assert CliRunner().invoke(app, ["surrogates", *arguments]).exit_code == code


def test_train_on_the_command_line(tmp_path, monkeypatch):
    """Everything but the training itself, which tests/test_surrogate_training.py covers."""
    import infflow.surrogates.training as training

    asked = {}

    def train_surrogate(activation, **options):
        asked.update(options, activation=activation)
        options["checkpoint"].write_bytes(b"")
        form = exact_form()
        return SurrogateForm(activation.name, form.arrays, SETTINGS), {"seed": options["seed"]}

    monkeypatch.setattr(training, "train_surrogate", train_surrogate)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_activations.py").write_text(
        "import infflow as inf\nerf = inf.Activation.from_sympy('my_erf', 'erf(x/sqrt(2))')\n"
    )
    arguments = [
        "my_erf",
        "--activation-from",
        "own_activations:erf",
        "--seed",
        "3",
        "--max-time",
        "7",
        "--out",
        "made",
    ]
    found = CliRunner().invoke(app, ["surrogates", "train", *arguments])
    assert found.exit_code == 0, found.output
    assert asked["activation"].name == "my_erf"
    assert asked["seed"] == 3
    assert asked["max_time"] == 0.85 * 7.0  # the rest is for the card
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [
        "my_erf.json",
        "my_erf.npz",
    ]  # no checkpoint
    card = inf.surrogates.card("my_erf", tmp_path / "made")
    assert card["training"] == {"seed": 3}
    assert (
        card["errors"]["hessian"]["maximum"] < 1e-9
    )  # no closed form: series and product rules at 1e-12
    verify = [
        "surrogates",
        "verify",
        "my_erf",
        "--activation-from",
        "own_activations:erf",
        "--dir",
        "made",
        "--points",
        "100",
        "--networks",
        "5",
    ]
    found = CliRunner().invoke(app, verify)
    assert found.exit_code == 0, found.output
    (tmp_path / "file").write_text("")
    assert CliRunner().invoke(app, ["surrogates", "train", "erf", "--out", "file"]).exit_code == 2
