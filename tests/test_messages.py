"""What messages say where a user's word, or the place of an argument, is another one."""

import inspect
import warnings

import numpy as np
import pytest
from fuzz_values import DetachedTensor, DynamicJaxprTracer, Hostile, Tensor
from scipy import sparse

import infflow as inf
from infflow import _names
from infflow._validation import counted, public, shown
from infflow.activations import ALIASES, REGISTRY
from infflow.cli.files.sections import FlowSettings
from infflow.errors import AccuracyWarning, InvalidTypeError, ShapeError, UnknownNameError
from infflow.fixedpoints import OPTIMIZERS
from infflow.flow import SOLVERS
from infflow.integrals.moments import METHODS
from infflow.networks.finite.losses import LOSSES
from infflow.networks.parameters import INITS, PARAMETRIZATIONS
from infflow.online.order_parameters import METHODS as FOURTH_MOMENTS
from infflow.sweeps.pools import BACKENDS

LAYERS = [(2, "erf", True), (1, "identity", True)]
ARCHITECTURE = inf.Net(LAYERS, input_dim=2)
THETA = inf.random_params(ARCHITECTURE, rng=0)
TEACHER = inf.Teacher(ARCHITECTURE, inf.random_params(ARCHITECTURE, rng=1))
NETI = inf.NetI(ARCHITECTURE, TEACHER)
NET = NETI.sample(20, 0)

KNOWN = {
    "activation": [*REGISTRY, *ALIASES],
    "solver": ["auto", *SOLVERS],
    "optimizer": ["auto", *OPTIMIZERS],
    "loss": list(LOSSES),
    "init": list(INITS),
    "method": ["auto", *METHODS],
    "parametrization": list(PARAMETRIZATIONS),
    "fourth_moments": list(FOURTH_MOMENTS),
    "backend": list(BACKENDS),
    "convention": list(inf.conventions.CONVENTIONS),
}


# -- names ----------------------------------------------------------------------------------------


def test_every_synonym_leads_to_a_name_that_exists_or_a_sentence():
    assert set(_names.SYNONYMS) == set(KNOWN)
    for kind, table in _names.SYNONYMS.items():
        for word, meant in table.items():
            assert word == _names._plain(word) and word not in KNOWN[kind], (kind, word)
            assert meant in KNOWN[kind] or meant.endswith("."), (kind, word, meant)
            hint = _names.suggestion(kind, word, KNOWN[kind])
            assert hint == (f" Did you mean {meant!r}?" if meant in KNOWN[kind] else f" {meant}")


NAMES = [
    (lambda: inf.train(NET, THETA, solver="euler"), "Did you mean 'gd'"),
    (lambda: inf.train(NET, THETA, solver="sgd"), "'gd' with step_size and batch_size"),
    (lambda: inf.train(NET, THETA, solver="Rodas5P()"), "Did you mean 'rodas5p'"),
    (lambda: inf.train(NET, THETA, solver="rodas5"), "Did you mean 'rodas5p'"),
    (lambda: inf.train(NET, THETA, solver="newton"), "optimizer='newton'"),
    (lambda: inf.train(NET, THETA, optimizer="LD_SLSQP"), "Did you mean 'slsqp'"),
    (lambda: inf.train(NET, THETA, optimizer="adam"), "solver='adam'"),
    (lambda: inf.Net([(2, "softmax", True)], input_dim=2), "loss='cross_entropy'"),
    (lambda: inf.Net([(2, "Swish", True)], input_dim=2), "Did you mean 'silu'"),
    (lambda: inf.Net([(2, "leaky_relu(0.2", True)], input_dim=2), "like 'leaky_relu"),
    (lambda: inf.Net([(2, "soft_plus", True)], input_dim=2), "Did you mean 'softplus'"),
    (lambda: inf.Net(LAYERS, input_dim=2, loss="crossentropy"), "Did you mean 'cross_entropy'"),
    (lambda: inf.random_params(ARCHITECTURE, init="xavier"), "Did you mean 'glorot_normal'"),
    (
        lambda: inf.gaussian_moment("erf", "relu", 1, 1, 0.5, method="quad"),
        "Did you mean 'cubature'",
    ),
]


@pytest.mark.parametrize(("call", "text"), NAMES)
def test_names_of_others(call, text):
    with pytest.raises(UnknownNameError) as caught:
        call()
    assert text in str(caught.value)


def test_nothing_is_proposed_where_nothing_is_near():
    with pytest.raises(UnknownNameError) as caught:
        inf.train(NET, THETA, solver="quantum")
    assert "Did you mean" not in str(caught.value)


# -- keywords -------------------------------------------------------------------------------------

FUNCTIONS = [getattr(inf, name) for name in inf.__all__ if name != "__version__"]
NOT_MADE_BY_USERS = (inf.Atlas, inf.Branch, inf.Result, inf.Evaluation, inf.Loss)


def test_every_public_function_and_class_suggests():
    for function in FUNCTIONS:
        if function in NOT_MADE_BY_USERS or (
            inspect.isclass(function) and issubclass(function, Exception)
        ):
            continue
        parameters = inspect.signature(function).parameters
        arguments = {
            name: None
            for name, each in parameters.items()
            if each.default is each.empty
            and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
        }
        with pytest.raises(inf.InfflowError) as caught:
            function(**arguments, no_such_argument=1)
        if not any(each.kind == each.VAR_KEYWORD for each in parameters.values()):
            assert str(caught.value).startswith("'no_such_argument' is not an argument of "), (
                function
            )
        required = [
            each
            for each in parameters.values()
            if each.default is each.empty and each.kind < each.VAR_POSITIONAL
        ]
        if required:
            with pytest.raises(InvalidTypeError, match="missing a required argument"):
                function()


@pytest.mark.parametrize(
    ("function", "keyword", "text"),
    [
        *(
            (inf.train, old, f"Did you mean {new!r}")
            for old, new in {
                "alg": "solver",
                "maxT": "t_end",
                "reltol": "rtol",
                "abstol": "atol",
                "n_samples_trajectory": "num_trajectory",
                "maxtime_ode": "max_time_flow",
                "maxiterations_ode": "max_steps_flow",
                "maxtime_optim": "max_time_newton",
                "maxiterations_optim": "max_steps_newton",
                "optim_solver": "optimizer",
                "min_gnorm": "min_gradient_norm",
                "minloss": "min_loss",
                "tauinv": "eta",
                "batchsize": "batch_size",
                "verbosity": "progress",
                "show_progress": "progress",
                "lr": "step_size",
                "Solver": "solver",
                "t_en": "t_end",
            }.items()
        ),
        (inf.train, "maxnorm", "inf.Net(..., maxnorm=c)"),
        (inf.train, "result", "all of it is in the Result"),
        (inf.train, "seed", "inf.random_params(net, rng=seed)"),
        (inf.Net, "Din", "Did you mean 'input_dim'"),
        (inf.Net, "losstype", "Did you mean 'loss'"),
        (inf.Net, "derivs", "Leave it out"),
        (inf.Net, "bias_adapt_input", "Leave it out"),
        (inf.Net, "X", "Did you mean 'input'"),
        (inf.random_params, "distr_fn", "Did you mean 'init'"),
        (inf.random_params, "seed", "Did you mean 'rng'"),
        (inf.NetI, "g1", "Did you mean 'method'"),
        (inf.classify, "rng", "Did you mean 'seed'"),
        (inf.loss, "input", "Did you mean 'X'"),
        (inf.train_many, "alg", "Did you mean 'solver'"),
        (inf.sweep, "num_workers", "Did you mean 'n_jobs'"),
    ],
)
def test_keywords_of_others(function, keyword, text):
    given = {inf.train: (NET, THETA), inf.train_many: (NET, [THETA])}.get(function, ())
    with pytest.raises(InvalidTypeError) as caught:
        function(*given, **{keyword: 1})
    assert str(caught.value).startswith(f"{keyword!r} is not an argument of ")
    assert text in str(caught.value)


def test_every_keyword_of_others_leads_to_a_parameter_that_exists():
    functions = [each for each in FUNCTIONS if each not in NOT_MADE_BY_USERS]
    known = {name for each in functions if callable(each) for name in _parameters(each)}
    known |= set(_parameters(inf.OrderParameters.solve)) | set(_parameters(inf.Result.load))
    assert {new for names in _names.KEYWORDS.values() for new in names} <= known


def _parameters(function):
    try:
        return inspect.signature(function).parameters
    except ValueError:
        return ()


def test_configuration_files_suggest_as_well():
    known = list(inspect.signature(FlowSettings).parameters)
    assert _names.keyword_hint("alg", known) == " Did you mean 'solver'?"
    assert _names.keyword_hint("maxT", known) == " Did you mean 't_end'?"


def test_errors_within_a_function_come_through_as_they_are():
    @public
    def function(a, *, b=0):
        return len(a) + b

    assert function("ab", b=1) == 3
    assert list(inspect.signature(function).parameters) == ["a", "b"]
    with pytest.raises(TypeError, match="has no len") as caught:
        function(3)
    assert not isinstance(caught.value, inf.InfflowError)


# -- arguments in the wrong place -----------------------------------------------------------------

X, Y = NET.input, NET.target

PLACES = [
    (lambda: inf.Net(LAYERS, input=X.T, target=Y.T), ShapeError, "pass input.T and target.T"),
    (lambda: inf.Net(LAYERS, input=X.T, target=Y[:, 0]), ShapeError, "pass input.T."),
    (lambda: inf.Net(LAYERS, input_dim=2, input=X.T, target=Y), ShapeError, "pass input.T"),
    (lambda: ARCHITECTURE.predict(THETA, X.T), ShapeError, "pass X.T"),
    (lambda: inf.Net(LAYERS, X, Y), InvalidTypeError, "inf.Net(layers, input=X, target=y)"),
    (
        lambda: inf.train(NET, (THETA, THETA)),
        InvalidTypeError,
        "theta0 is a list of 2 vectors; train takes one start. inf.train_many",
    ),
    (lambda: inf.train(NET, None), InvalidTypeError, "inf.random_params(net)"),
    (
        lambda: inf.loss(NETI, None),
        InvalidTypeError,
        "theta holds all 9 parameters of the net in one vector: inf.random_params",
    ),
    (
        lambda: inf.Activation("leaky_relu", 0.2),
        InvalidTypeError,
        "kernel is 0.2; a function kernel(x, out) is needed",
    ),
    (lambda: inf.Sweep("runs.db"), InvalidTypeError, "inf.Sweep.load(path)"),
    (lambda: inf.loss(NET, Tensor()), InvalidTypeError, "tensor.detach()"),
    (lambda: inf.loss(NET, [Tensor()] * 9), InvalidTypeError, "tensor.detach()"),
    (lambda: inf.loss(NET, DynamicJaxprTracer()), InvalidTypeError, "outside of jax.jit"),
    (lambda: inf.Gaussian(np.zeros(2)), InvalidTypeError, "Gaussian needs cov"),
]


@pytest.mark.parametrize(("call", "error", "text"), PLACES)
def test_arguments_in_the_wrong_place(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)


def test_data_that_fit_in_both_ways_are_taken_as_rows():
    square = np.eye(2)
    assert inf.Net(LAYERS, input=square, target=[0.0, 1.0]).input is not None
    with pytest.raises(ShapeError, match=r"target has shape \(3,\)") as caught:
        inf.Net(LAYERS, input=square, target=np.ones(3))
    assert "columns" not in str(caught.value)


def test_detached_tensors_are_arrays():
    assert inf.loss(NET, DetachedTensor(THETA)) == inf.loss(NET, THETA)


def test_input_and_target_are_what_was_given():
    X = np.arange(6.0).reshape(3, 2)
    net = inf.Net(LAYERS, input=X, target=[1.0, 2.0, 3.0])
    assert net.input is X
    np.testing.assert_array_equal(net.target, [[1.0], [2.0], [3.0]])
    assert ARCHITECTURE.input is None and ARCHITECTURE.target is None
    with pytest.raises(AttributeError):
        net.input = X


def test_gaussians_with_parts_left_out():
    cov = np.array([[2.0, 0.5], [0.5, 1.0]])
    for given in (
        inf.Gaussian(cov=cov),
        inf.Gaussian(0, cov),
        inf.Gaussian(0.0, cov),
        inf.Gaussian([0, 0], cov),
    ):
        np.testing.assert_array_equal(given.mean, [0.0, 0.0])
        np.testing.assert_array_equal(given.cov, cov)
    np.testing.assert_array_equal(inf.Gaussian(1.5, cov).mean, [1.5, 1.5])
    np.testing.assert_array_equal(inf.Gaussian(cov=[2.0, 3.0]).cov, [[2.0, 0.0], [0.0, 3.0]])
    np.testing.assert_array_equal(inf.Gaussian([0.0, 1.0, 2.0], 3.0).cov, 3.0 * np.eye(3))
    given = inf.GaussianMixture([0.5, 0.5], np.zeros((2, 2)), [[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(given.covs, [np.diag([1.0, 2.0]), np.diag([3.0, 4.0])])
    a, b = (
        inf.NetI(ARCHITECTURE, TEACHER, each)
        for each in (inf.Gaussian(cov=[2.0, 3.0]), inf.Gaussian([0, 0], np.diag([2.0, 3.0])))
    )
    assert inf.loss(a, THETA) == inf.loss(b, THETA)


def test_results_compare_to_a_truth_value():
    run = {"max_steps_flow": 2, "max_steps_newton": 0, "progress": False}
    first = inf.train(NET, THETA, **run)
    second = inf.train(NET, THETA, **run)
    assert (first == first) is True
    assert (first == second) is False
    assert first in [second, first] and len({first, second}) == 2
    a, b = (inf.classify(NETI, THETA, samples=1) for _ in range(2))
    assert (a == a) is True and (a == b) is False


# -- kinks that were not named ---------------------------------------------------------------------


def _relu(x):
    return np.maximum(x, 0.0)


def _elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0.0)))


def _elu_1(x):
    return np.where(x > 0, 1.0, np.exp(np.minimum(x, 0.0)))


def _elu_2(x):
    return np.where(x > 0, 0.0, np.exp(np.minimum(x, 0.0)))


def _clip_1(x):
    return np.where(np.abs(x) < 1, 1.0, 0.0)


@pytest.mark.parametrize(
    ("f", "derivatives", "named", "missing"),
    [
        (_relu, [], [], [0.0]),
        (_relu, [lambda x: np.where(x > 0, 1.0, 0.0)], [], [0.0]),
        (lambda x: np.clip(x, -1, 1), [_clip_1], [], [-1.0, 1.0]),
        (lambda x: np.clip(x, -1, 1), [_clip_1], [-1.0], [-1.0, 1.0]),
        (lambda x: np.sign(x - 0.3), [], [], [0.3]),
        (
            lambda x: np.where(x > 1, x, 0.999 * (x - 1) + 1),
            [],
            [],
            [1.0],
        ),  # a kink of a thousandth
        (_elu, [_elu_1, _elu_2], [], [0.0]),
    ],
)
def test_a_jump_that_was_not_named_warns_once(f, derivatives, named, missing):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        inf.Activation.from_callable("mine", f, derivatives, kinks=named)
    assert [each.category for each in caught] == [AccuracyWarning]
    assert f"Activation.from_callable(..., kinks={missing})" in str(caught[0].message)
    assert caught[0].filename == __file__
    inf.Activation.from_callable("mine", f, derivatives, kinks=missing)  # warnings are errors


@pytest.mark.parametrize(
    "f",
    [
        np.tanh,
        np.exp,
        lambda x: np.tanh(1e4 * x),
        lambda x: np.sin(500.0 * x),
        lambda x: np.sin(x**3),
        lambda x: x**9,
        lambda x: 1e8 + np.sin(x),
        lambda x: 0.0 * x + 1.0,
        lambda x: np.tanh(x.astype(np.float32)),
        lambda x: np.logaddexp(0.0, x),
    ],
)
def test_smooth_functions_do_not_warn(f):
    inf.Activation.from_callable("mine", f)  # warnings are errors


# -- what is shown ---------------------------------------------------------------------------------


def test_values_are_shown_on_one_short_line():
    cyclic = []
    cyclic.append(cyclic)
    deep = [1]
    for _ in range(5000):
        deep = [deep]
    for value in (
        10**5000,
        "x" * 5000,
        cyclic,
        deep,
        Hostile(),
        np.eye(100),
        [0] * 10**5,
        {1: deep},
        "\ud800",
    ):
        text = shown(value)
        assert len(text) <= 200 and "\n" not in text
        text.encode("utf-8")
    assert (
        shown(0.1) == "0.1"
        and shown("a") == "'a'"
        and shown([1, 2]) == "[1, 2]"
        and shown(None) == "None"
    )


def test_numbers_and_nouns_agree():
    assert counted(1, "neuron") == "1 neuron" and counted(0, "neuron") == "0 neurons"
    with pytest.raises(ShapeError, match="lists 2 activations for 1 neuron;"):
        inf.Net([(1, ["erf", "relu"], True)], input_dim=1)
    with pytest.raises(ShapeError, match="lists 1 activation for 2 neurons;"):
        inf.Net([(2, ["erf"], True)], input_dim=1)
    with pytest.raises(ShapeError, match=r"is needed for 3 samples and 1 output\."):
        inf.Net([(1, "erf", True)], input=np.ones((3, 1)), target=np.ones(2))


def test_what_newcomers_pass_by_mistake():
    net = inf.Net(
        [(2, "relu", True), (3, "identity", True)],
        input=np.eye(3),
        target=[0, 1, 2],
        loss="cross_entropy",
    )
    result = inf.train(
        net, inf.random_params(net, 0), max_steps_flow=1, max_steps_newton=0, progress=False
    )
    for function, name in ((inf.loss, "theta"), (inf.hessian, "theta"), (inf.train, "theta0")):
        with pytest.raises(
            inf.InfflowError, match=rf"^{name} is a Result; .* Pass result\.theta\.$"
        ):
            function(net, result)
    with pytest.raises(inf.InfflowError, match=r"Take ridge of the network"):
        inf.train(net, result.theta, weight_decay=0.1)
    with pytest.raises(inf.InfflowError, match=r"take target\.argmax\(axis=1\)\.$"):
        net.with_data(np.eye(3), np.eye(3))
    with pytest.raises(inf.InfflowError, match=r"is a sparse matrix; .* Pass its toarray\(\)\.$"):
        net.with_data(sparse.csr_matrix(np.eye(3)), [0, 1, 2])
    with pytest.raises(inf.InfflowError, match="Did you mean 'store'"):
        inf.sweep(print, {"x": [1]}, folder="runs.db")
