"""The estimators keep scikit-learn's rules and fit what they are said to fit."""

import pickle

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import infflow as inf
from infflow.errors import InfflowError
from infflow.exchange.sklearn import GradientFlowClassifier, GradientFlowRegressor


@parametrize_with_checks(
    [GradientFlowRegressor(random_state=0), GradientFlowClassifier(random_state=0)]
)
def test_scikit_learn_accepts(estimator, check):
    check(estimator)


def data(seed=0, N=60, D=3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, D))
    return X, np.sin(X[:, 0]) + 0.5 * X[:, 1]


def test_regressor_ends_where_the_flow_does():
    X, y = data()
    model = GradientFlowRegressor(
        (6,), "tanh", ridge=1e-3, t_end=5.0, tol=0.0, rtol=1e-8, random_state=3
    ).fit(X, y)
    net = inf.Net([(6, "tanh", True), (1, "identity", True)], input=X, target=y, ridge=1e-3)
    assert model.loss_ == pytest.approx(inf.loss(net, model.theta_), rel=1e-14)
    assert model.result_.trajectory.t[-1] == 5.0
    np.testing.assert_array_equal(model.predict(X), net.predict(model.theta_, X)[:, 0])
    again = inf.train(
        net,
        model.result_.theta0,
        solver="rodas5p",
        t_end=5.0,
        rtol=1e-10,
        atol=1e-10,
        max_steps_newton=0,
        progress=False,
    )
    np.testing.assert_allclose(
        model.theta_, again.theta, atol=1e-6
    )  # two integrators at rtol 1e-8 and 1e-10
    assert model.score(X, y) > 0.9


def test_newton_goes_to_the_fixed_point():
    X, y = data()
    model = GradientFlowRegressor(
        (2,), "erf", t_end=np.inf, tol=1e-12, newton=True, random_state=0
    ).fit(X, y)
    assert model.result_.converged and model.result_.gradient_norm <= 1e-12


def test_early_stopping_keeps_weights_small():
    X, y = data()
    norms = [
        np.linalg.norm(GradientFlowRegressor(ridge=0.0, t_end=t, random_state=0).fit(X, y).theta_)
        for t in (1.0, 1e3)
    ]
    assert norms[0] < norms[1]


def test_several_starts_keep_the_best():
    X, y = data()
    one = GradientFlowRegressor((3,), "tanh", random_state=5).fit(X, y)
    many = GradientFlowRegressor((3,), "tanh", n_starts=4, random_state=5).fit(X, y)
    assert many.loss_ <= one.loss_  # the first start is the same


def test_several_outputs_and_sample_weights():
    X, y = data()
    Y = np.column_stack([y, y**2])
    model = GradientFlowRegressor((8,), random_state=0).fit(X, Y)
    assert model.predict(X).shape == Y.shape and model.score(X, Y) > 0.8
    weights = np.zeros(len(X))
    weights[:30] = 2.0
    part = GradientFlowRegressor(random_state=0).fit(X[:30], y[:30])
    weighted = GradientFlowRegressor(random_state=0).fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(
        weighted.predict(X), part.predict(X), rtol=1e-6, atol=1e-8
    )  # equal but for rounding along a flow


def test_linear_model_is_ridge_regression():
    X, y = data()
    model = GradientFlowRegressor(
        (), ridge=0.1, t_end=np.inf, tol=1e-13, newton=True, random_state=0
    ).fit(X, y)
    A = np.column_stack([X, np.ones(len(X))])
    expected = np.linalg.solve(A.T @ A / len(X) + 0.05 * np.eye(4), A.T @ y / len(X))
    np.testing.assert_allclose(model.theta_, expected, rtol=1e-10, atol=1e-12)


def test_classifier():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((150, 2))
    y = np.array(["inside", "middle", "outside"])[np.digitize((X**2).sum(axis=1), [0.7, 2.0])]
    model = GradientFlowClassifier((12,), "tanh", random_state=0).fit(X, y)
    assert list(model.classes_) == ["inside", "middle", "outside"] and model.score(X, y) > 0.95
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), probabilities, rtol=1e-14)
    assert (model.classes_[probabilities.argmax(axis=1)] == model.predict(X)).all()
    labels = np.searchsorted(model.classes_, y)
    penalty = 0.5 * model.ridge * model.theta_ @ model.theta_
    assert model.loss_ == pytest.approx(
        -np.log(probabilities[np.arange(150), labels]).mean() + penalty, rel=1e-12
    )
    two = GradientFlowClassifier((12,), "tanh", random_state=0).fit(X, y == "inside")
    assert ((two.decision_function(X) > 0) == two.predict(X)).all()


def test_in_a_grid_search_and_a_pickle():
    X, y = data()
    pipeline = make_pipeline(StandardScaler(), GradientFlowRegressor(random_state=0))
    search = GridSearchCV(
        pipeline, {"gradientflowregressor__hidden_layer_sizes": [(), (4,)]}, cv=2
    ).fit(X, y)
    assert search.best_params_ == {"gradientflowregressor__hidden_layer_sizes": (4,)}
    copy = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(copy.predict(X), search.predict(X))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden_layer_sizes": (0,)}, "at least 1"),
        ({"hidden_layer_sizes": 2.5}, "tuple of integers"),
        ({"hidden_layer_sizes": "10"}, "tuple of integers"),
        ({"activation": "nonsense"}, "not known"),
        ({"activation": ["tanh", "relu"]}, "2 activations for 1 hidden layer"),
        ({"ridge": -1.0}, "ridge"),
        ({"t_end": 0.0}, "t_end"),
        ({"tol": -1.0}, "tol"),
        ({"rtol": 0.0}, "rtol"),
        ({"solver": "nonsense"}, "solver"),
        ({"newton": "yes"}, "newton"),
        ({"max_steps": 0}, "max_steps"),
        ({"n_starts": 0}, "n_starts"),
    ],
)
def test_bad_arguments(arguments, message):
    X, y = data()
    with pytest.raises(InfflowError, match=message):
        GradientFlowRegressor(**arguments).fit(X, y)


def test_docstrings_say_what_the_parameters_are():
    for model in (GradientFlowRegressor, GradientFlowClassifier):
        for name in model().get_params():
            assert f"    {name} : " in model.__doc__
    assert inf.sklearn.GradientFlowRegressor is GradientFlowRegressor


@pytest.mark.parametrize("newton", [False, True])
def test_a_fit_that_max_steps_ends_warns(newton):
    """As MLPRegressor does where max_iter ends it."""
    X, y = data()
    model = GradientFlowRegressor(
        (6,), "tanh", t_end=np.inf, newton=newton, max_steps=3, random_state=0
    )
    with pytest.warns(
        ConvergenceWarning, match=r"not converged: all 3 steps \(max_steps\) are used up"
    ) as caught:
        model.fit(X, 1e3 * y)
    assert caught[0].filename == __file__
    with pytest.warns(ConvergenceWarning):
        GradientFlowClassifier((6,), "tanh", t_end=np.inf, max_steps=3, random_state=0).fit(
            X, y > 0
        )


def test_early_stopping_and_fixed_points_do_not_warn():
    """Warnings are errors here: a flow that got to t_end, to tol, or to a fixed point has done what
    was asked.
    """
    X, y = data()
    assert (
        GradientFlowRegressor((3,), "erf", t_end=0.1, random_state=0).fit(X, y).result_.status.name
        == "T_END"
    )
    assert (
        GradientFlowRegressor((1,), "erf", t_end=np.inf, tol=0.1, random_state=0)
        .fit(X, y)
        .result_.converged
    )
    fitted = GradientFlowRegressor(
        (1,), "erf", ridge=1e-2, t_end=np.inf, tol=0.0, newton=True, random_state=0
    ).fit(X, y)
    assert fitted.result_.status.name == "ROUNDING_FLOOR"
