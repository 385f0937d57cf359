"""Every argument of every public callable is replaced by values of every kind: the call works or
raises an error of infflow.

A row of :func:`_cases` is a call that works, with the kind of each argument. Arguments are replaced
one at a time by each of ``fuzz_values.VALUES``. What is accepted must be right for the kind of the
argument, or be listed in :data:`ON_PURPOSE`.
"""

import contextlib
import inspect
import signal
import warnings
from dataclasses import fields
from typing import NamedTuple

import numpy as np
import pytest
from fuzz_values import VALUES
from sklearn.exceptions import ConvergenceWarning

import infflow as inf
from infflow.cli.files import Configuration, train_configuration
from infflow.cli.files.sections import SECTIONS
from infflow.cli.files.sweep_file import SweepFile
from infflow.dynamics import DYNAMICS
from infflow.errors import AccuracyWarning, ConfigurationError, InfflowError, SolverWarning
from infflow.fixedpoints import OPTIMIZERS
from infflow.flow import SOLVERS
from infflow.sweeps.grid import make_runs


class Argument(NamedTuple):
    value: object
    kinds: str = ""  #: of fuzz_values, separated by spaces


class Call(NamedTuple):
    name: str
    function: object
    arguments: dict
    positional: int = 0  #: so many of the arguments are given by position


A = Argument
LAYERS = [(2, "erf", True), (1, "identity", True)]

#: (call, argument) -> values of other kinds that it takes, and why
ON_PURPOSE = {
    ("Activation", "source"): ("empty string",),  # read by sympy where the expression is asked for
    ("bivariate_normal_cdf", "h"): ("long double",),  # infinite limits
    ("bivariate_normal_cdf", "k"): ("long double",),
    ("SymmetricNetI", "students"): ("list of None",),  # free students only
    ("sweep", "function"): ("class",),  # it can be called; its runs fail, and are kept as failures
    # steps of a function that fails are failures of starts
    ("train_many", "solver"): ("function", "lambda"),
    ("train_many", "optimizer"): ("function", "lambda"),
    # settings are whatever JSON holds
    ("sweep over seed", "value"): ("empty string", "ragged", "list of None", "list of names"),
    ("values of a setting", "value"): ("ragged", "list of names"),
    # as scikit-learn takes them
    ("sklearn.GradientFlowRegressor", "random_state"): ("True",),
    ("sklearn.GradientFlowClassifier", "random_state"): ("True",),
    ("sklearn.GradientFlowRegressor.fit", "sample_weight"): ("True", "Decimal"),
    ("sklearn.GradientFlowClassifier.fit", "sample_weight"): ("True", "Decimal"),
}

#: (call, argument) -> functions that fail, whose own errors come through
FAILING_FUNCTIONS = {
    ("train", "callback"): ("class",),
    ("train", "solver"): ("function",),
    ("train", "optimizer"): ("function",),
    ("train by descent", "solver"): ("function",),
    ("sklearn.GradientFlowRegressor", "solver"): ("function",),
    ("sklearn.GradientFlowClassifier", "solver"): ("function",),
    ("random_params", "init"): ("function", "class"),
    ("grow", "init"): ("function", "class"),
    ("continuation", "problem"): ("function",),
    ("an observable", "value"): ("class",),
}

#: (call, argument) -> values that are right, and mean a computation without end
ENDLESS = {
    ("spectral_density", "probes"): ("10**12", "10**400"),
    ("surrogates.verify", "networks"): ("10**12", "10**400"),
    ("sklearn.GradientFlowRegressor", "n_starts"): ("10**12", "10**400"),
    ("sklearn.GradientFlowClassifier", "n_starts"): ("10**12", "10**400"),
    ("convergence", "setting"): ("None",),
    ("convergence", "seeds"): ("3", "10**12", "10**400"),
    ("convergence", "jobs"): ("-1", "3"),
    ("convergence", "input_dim"): ("3",),
    ("convergence", "noise"): ("0", "3", "0.5", "10**12", "5e-324", "Fraction"),
}

#: rows that call a function of their own
HANDED_ON = ("closed_form", "sklearn.GradientFlowRegressor", "sklearn.GradientFlowClassifier")

#: public names that no row calls, and why
NOT_CALLED = {
    "__version__": "a text",
    "InfflowError": "an error",
    "SingularMomentError": "an error",
    "AccuracyWarning": "a warning",
    "Evaluation": "what evaluate returns",
    "Loss": "a base class; test_losses.py calls the methods of every loss",
    "Result": "what train returns",
    "Equilibrium.transition": "without arguments",
    "Equilibrium.unspecialised": "without arguments",
    "Atlas": "what atlas returns; test_atlas.py calls its methods",
    "Branch": "what continuation returns; test_continuation.py calls its methods",
    "Activation.jet": "without checks, for kernels",
    "Net.needs_no_blas": "asked by the functions of losses, with an order of theirs",
    "SGDDiffusion.of_run": "asked by train_many, with the number of a start",
    "Net.scaled": "without checks, for solvers",
    "Net.normalized": "without checks, for solvers",
    "Net.pulled": "without checks, for solvers",
    "NetI.student_units": "without checks, for solvers",
    "NetI.acting_gradient": "without checks, for solvers",
    "PolynomialTeacher.monomials": "without arguments",
    "PolynomialTeacher.of_projections": "without checks",
    "PolynomialTeacher.table": "without checks, for losses",
    "Gaussian.components": "without arguments",
    "Gaussian.covariance": "without arguments",
    "GaussianMixture.components": "without arguments",
    "GaussianMixture.covariance": "without arguments",
    "Result.to_dict": "without arguments",
    "HeavyBall.at": "without checks, for solvers",
    "HeavyBall.slope_at": "without checks, for solvers",
    "HeavyBall.is_infinite_at_start": "without arguments",
    **{
        f"{kind.__name__}.{member}": "without checks, for train"
        for kind in DYNAMICS.values()
        for member in ("check", "method", "problem")
    },
    "Sweep.to_pandas": "without arguments",
    "Sweep.result": "as Sweep.arrays; raises where the function returned none",
    "conventions.Quantity": "a row of a table",
    "conventions.Convention": "a row of a table",
    "surrogates.Surrogate": "what load returns",
    "surrogates.Verification": "what verify returns",
    "surrogates.save": "for surrogates that were trained, see test_surrogate_training.py",
    "plotting.STYLE": "a text",
    "plotting.style": "without arguments",
}


class Parabola:
    """The square of theta - c, for continuation."""

    num_params = 1

    def __init__(self, c):
        self.c = c

    def evaluate(self, theta, order=0):
        x = theta[0] - self.c
        return inf.Evaluation(x * x, np.array([2 * x]), np.array([[2.0]]))


def run_of_sweep(seed):
    return {"value": float(seed)}


def _cases():
    net = inf.Net(LAYERS, input_dim=2)
    theta = inf.random_params(net, rng=0)
    teacher = inf.Teacher(net, inf.random_params(net, rng=1))
    neti = inf.NetI(net, teacher)
    fitted = inf.NetI(net, inf.Teacher(net, theta, noise=0.1))  # known without fourth moments
    data = neti.sample(12, 0)
    X, y = data.data.X, data.data.target
    plain = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=2)
    student = inf.random_params(plain, rng=3)
    soft = inf.NetI(plain, inf.Teacher(plain, inf.random_params(plain, rng=2)))
    ode = inf.OrderParameters(soft, 0.1)
    state = tuple(ode.state(student))
    gaussian = inf.Gaussian(np.zeros(2), np.eye(2))
    mixture = inf.GaussianMixture([0.5, 0.5], np.zeros((2, 2)), [np.eye(2)] * 2)
    tanh = inf.Activation.from_callable("my", np.tanh, [lambda x: 1 - np.tanh(x) ** 2])
    quick = {"max_steps_flow": 3, "max_steps_newton": 3, "progress": False}
    result = inf.train(data, theta, **quick)
    result.save("result")
    runs = inf.train_many(data, [theta, 2 * theta], **quick)
    table = inf.sweep(
        run_of_sweep, {"seed": [1, 2]}, "given.db", backend="sequential", progress=False
    )

    layers = A(LAYERS)
    flag = "flag"
    any_net = A(data)
    any_theta = A(theta, "array")
    rng = A(0, "seed")
    yield Call(
        "Activation",
        inf.Activation,
        {
            "name": A("a", "text"),
            "kernel": A(lambda x, out: None, "function"),
            "source": A(None, "text optional"),
            "kinks": A([], "array list"),
            "polynomial": A([], "array list"),
            "atoms": A((), "list function"),
            "waves": A((), "list"),
            "parity": A(0, "count"),
            "homogeneous": A(False, flag),
            "max_order": A(4, "count"),
            "strip": A(None, "optional"),
            "recipe": A(None, "optional"),
        },
    )
    yield Call("Activation.__call__", tanh, {"x": A(0.5, "numbers array")}, 1)
    yield Call(
        "Activation.derivative",
        tanh.derivative,
        {"x": A(0.5, "numbers array"), "order": A(1, "count")},
    )
    yield Call(
        "Activation.from_sympy",
        inf.Activation.from_sympy,
        {"name": A("n", "text"), "expr": A("x**2", "number text")},
    )
    yield Call(
        "Activation.from_callable",
        inf.Activation.from_callable,
        {
            "name": A("n", "text"),
            "f": A(np.tanh, "function"),
            "derivatives": A([], "list"),
            "kinks": A([0.5], "array list"),
        },
    )
    yield Call("Activation.affine", tanh.affine, {"scale": A(2, "number"), "shift": A(1, "number")})
    yield Call("activation", inf.activation, {"x": A("tanh", "text")})
    yield Call("polynomial", inf.polynomial, {"coefficients": A([1.0, 2.0], "array list")})
    yield Call(
        "Net",
        inf.Net,
        {
            "layers": layers,
            "input_dim": A(None, "count optional"),
            "input": A(X, "array"),
            "target": A(y, "array"),
            "weights": A(None, "array optional"),
            "loss": A("mse"),
            "maxnorm": A(np.inf, "number"),
            "ridge": A(0.0, "number"),
            "parametrization": A("standard"),
            "merge": A(None, "optional list"),
        },
    )
    yield Call("Net.evaluate", data.evaluate, {"theta": any_theta, "order": A(2, "count")})
    yield Call("Net.hvp", data.hvp, {"theta": any_theta, "v": A(theta, "array")})
    yield Call("Net.jacobian", data.jacobian, {"theta": any_theta})
    yield Call("Net.linearize", data.linearize, {"theta": any_theta})
    yield Call(
        "Net.loss_rounding", data.loss_rounding, {"theta": any_theta, "value": A(1.0, "number")}
    )
    yield Call("Net.fisher", data.fisher, {"theta": any_theta})
    yield Call("Net.gradient_covariance", data.gradient_covariance, {"theta": any_theta})
    yield Call("Net.pack", net.pack, {"pairs": A(net.unpack(theta), "list")})
    yield Call("Net.predict", net.predict, {"theta": any_theta, "X": A(X, "array")})
    yield Call("Net.residuals", data.residuals, {"theta": any_theta})
    yield Call("Net.subset", data.subset, {"indices": A(np.arange(3), "array list count")})
    yield Call("Net.unpack", net.unpack, {"theta": any_theta})
    yield Call(
        "Net.with_data", net.with_data, {"X": A(X), "y": A(y), "weights": A(None, "optional")}
    )
    yield Call(
        "NetI",
        inf.NetI,
        {
            "student": A(net),
            "teacher": A(teacher),
            "input": A(None, "optional"),
            "method": A("auto"),
            "rtol": A(1e-10, "number"),
            "maxnorm": A(np.inf, "number"),
            "ridge": A(0.0, "number"),
            "outside": A("error"),
            "surrogates_dir": A(None, "optional"),
            "merge": A({"layer": 1, "pair": (0, 1), "lambda": 0.1}, "optional list"),
            "loss": A("correlation"),
        },
    )
    yield Call(
        "NetI with surrogates",
        inf.NetI,
        {
            "student": A(net),
            "teacher": A(teacher),
            "method": A("surrogate"),
            "outside": A("exact"),
            "surrogates_dir": A(None, "optional path"),
        },
    )
    for name, each in (("Net", data), ("NetI", neti)):
        yield Call(
            f"{name}.replace",
            each.replace,
            {
                "ridge": A(0.1, "number"),
                "layers" if name == "Net" else "student": A(LAYERS if name == "Net" else net),
            },
        )
    yield Call("NetI.check", neti.check, {"theta": any_theta})
    yield Call("NetI.evaluate", neti.evaluate, {"theta": any_theta, "order": A(2, "count")})
    yield Call("NetI.explain", neti.explain, {"theta": A(theta, "array optional")})
    yield Call("NetI.fisher", neti.fisher, {"theta": any_theta})
    yield Call("NetI.gradient_covariance", fitted.gradient_covariance, {"theta": any_theta})
    yield Call("NetI.frozen", neti.frozen, {"theta": any_theta, "rtol": A(1e-14, "number")})
    yield Call("NetI.hvp", neti.hvp, {"theta": any_theta, "v": A(theta, "array")})
    yield Call("NetI.observable", neti.observable, {"name": A("overlaps")})
    yield Call("NetI.pack", neti.pack, {"pairs": A(net.unpack(theta), "list")})
    yield Call("NetI.predict", neti.predict, {"theta": any_theta, "X": A(X, "array")})
    yield Call("NetI.sample", neti.sample, {"N": A(3, "count"), "rng": rng, "method": A("sobol")})
    yield Call("NetI.unpack", neti.unpack, {"theta": any_theta})
    yield Call("NetI.with_method", neti.with_method, {"method": A("closed")})
    fam = inf.SymmetricNetI("erf", [2, 3])
    z = fam.random(0)
    any_z = A(z, "array")
    yield Call(
        "SymmetricNetI",
        inf.SymmetricNetI,
        {
            "activation": A("erf"),
            "teachers": A([2, 3.5], "array list"),
            "students": A([0, None], "list optional"),
            "inputs": A(None, "optional number"),
            "train_second_layer": A(False, flag),
            "method": A("auto"),
            "rtol": A(1e-10, "number"),
        },
    )
    for name in ("check", "index", "lift", "output_weights", "spectrum", "unpack"):
        yield Call(f"SymmetricNetI.{name}", getattr(fam, name), {"z": any_z})
    yield Call(
        "SymmetricNetI.symmetry_types",
        fam.symmetry_types,
        {"z": any_z, "frozen": A(None, "optional")},
    )
    yield Call("SymmetricNetI.evaluate", fam.evaluate, {"z": any_z, "order": A(2, "count")})
    yield Call("SymmetricNetI.frozen", fam.frozen, {"z": any_z, "rtol": A(1e-14, "number")})
    yield Call("SymmetricNetI.hvp", fam.hvp, {"z": any_z, "v": A(z, "array")})
    yield Call(
        "SymmetricNetI.loss_rounding", fam.loss_rounding, {"z": any_z, "value": A(1.0, "number")}
    )
    yield Call(
        "SymmetricNetI.pack",
        fam.pack,
        {
            "own": A([1.0, 1.0], "array"),
            "within": A([0.0, 0.0], "array"),
            "between": A(np.zeros((2, 2)), "array"),
            "output_weights": A(None, "optional"),
        },
    )
    yield Call(
        "SymmetricNetI.require_frozen",
        fam.require_frozen,
        {"frozen": A(None, "optional")},
    )
    yield Call(
        "SymmetricNetI.divide",
        fam.divide,
        {"z": any_z, "block": A(1, "count"), "apart": A(1, "count")},
    )
    yield Call("SymmetricNetI.random", fam.random, {"rng": rng})
    yield Call("SymmetricNetI.replace", fam.replace, {"teachers": A([2, 4], "array list")})
    yield Call("SymmetricNetI.resized", fam.resized, {"teachers": A([2, 4], "array list")})
    yield Call("SymmetricNetI.restrict", fam.restrict, {"theta": A(fam.lift(z).theta, "array")})
    yield Call(
        "Teacher", inf.Teacher, {"net": A(net), "theta": any_theta, "noise": A(0.1, "number")}
    )
    for each in (
        inf.Teacher(net, theta, 0.1),
        inf.FunctionTeacher(lambda z: z[:, 0], np.eye(2), 0.1),
        inf.PolynomialTeacher({(1, 1): 1.0}, np.eye(2), noise=0.1),
    ):
        kind = type(each).__name__
        yield Call(f"{kind}.predict", each.predict, {"X": A(X, "array")})
        yield Call(f"{kind}.label", each.label, {"X": A(X, "array"), "rng": rng})
    yield Call(
        "FunctionTeacher",
        inf.FunctionTeacher,
        {
            "F": A(lambda z: z[:, 0], "function"),
            "V": A(np.eye(1, 2), "array"),
            "noise": A(0.0, "number"),
            "kinks": A([0.5], "array list"),
        },
    )
    polynomial = inf.PolynomialTeacher({(1, 1): 1.0}, np.eye(2))
    yield Call(
        "PolynomialTeacher",
        inf.PolynomialTeacher,
        {
            "terms": A({(1, 1): 1.0}),
            "V": A(np.eye(2), "array"),
            "basis": A("monomial"),
            "noise": A(0.1, "number"),
        },
    )
    yield Call(
        "information_exponent", inf.information_exponent, {"f": A("relu"), "rtol": A(0.1, "number")}
    )
    yield Call(
        "leap_exponent", inf.leap_exponent, {"teacher": A(polynomial), "rtol": A(0.1, "number")}
    )
    yield Call(
        "hermite_coefficients",
        inf.hermite_coefficients,
        {"f": A("relu"), "n": A(3, "count"), "r": A(1.0, "number"), "b": A(0.5, "number")},
    )
    yield Call(
        "quadrature_net",
        inf.quadrature_net,
        {
            "net": A(net),
            "target_function": A(lambda x: x[:, 0], "function"),
            "nodes": A(3, "count optional"),
            "input": A(None, "optional"),
            "prune": A(1e-18, "number"),
            "method": A("sobol"),
            "rng": rng,
        },
    )
    yield Call(
        "Gaussian",
        inf.Gaussian,
        {"mean": A(np.zeros(2), "numbers array optional"), "cov": A(np.eye(2), "numbers array")},
    )
    yield Call(
        "GaussianMixture",
        inf.GaussianMixture,
        {
            "weights": A([1.0], "array"),
            "means": A(np.zeros((1, 2)), "array"),
            "covs": A([np.eye(2)], "array"),
        },
    )
    for each in (gaussian, mixture):
        yield Call(f"{type(each).__name__}.sample", each.sample, {"N": A(3, "count"), "rng": rng})
    yield Call(
        "random_params",
        inf.random_params,
        {"net": A(net), "rng": rng, "init": A("glorot_normal", "function")},
    )
    yield Call(
        "loss",
        inf.loss,
        {
            "net": any_net,
            "theta": any_theta,
            "X": A(X, "array"),
            "y": A(y, "array"),
            "weights": A(None, "array optional"),
        },
    )
    yield Call("gradient", inf.gradient, {"net": any_net, "theta": any_theta, "wrt": A("student")})
    yield Call("mixed_hessian", inf.mixed_hessian, {"net": A(neti), "theta": any_theta})
    yield Call("jax_loss", inf.jax_loss, {"net": any_net, "teacher": A(False, flag)})
    yield Call("torch_loss", inf.torch_loss, {"net": any_net, "teacher": A(False, flag)})
    for name in ("hessian", "hessian_spectrum", "hessian_eigenvalues"):
        yield Call(name, getattr(inf, name), {"net": any_net, "theta": any_theta})
    yield Call("hvp", inf.hvp, {"net": any_net, "theta": any_theta, "v": A(theta, "array")})
    yield Call(
        "gradient_covariance",
        inf.gradient_covariance,
        {
            "net": A(neti),
            "theta": any_theta,
            "samples": A(40, "count"),
            "rng": rng,
            "method": A("sampling"),
        },
    )
    yield Call("fisher", inf.fisher, {"net": any_net, "theta": any_theta})
    yield Call(
        "gradient_noise_scale",
        inf.gradient_noise_scale,
        {
            "net": A(neti),
            "theta": any_theta,
            "method": A("sampling"),
            "samples": A(40, "count"),
            "rng": rng,
        },
    )
    settled = inf.train(neti, theta, progress=False).theta
    yield Call(
        "finite_data_prediction",
        inf.finite_data_prediction,
        {
            "net": A(neti),
            "theta": A(settled, "array"),
            "N": A(100.0, "number"),
            "samples": A(40, "count"),
            "rng": rng,
            "rtol": A(1e-10, "number"),
            "method": A("sampling"),
            "frozen": A(None, "optional"),
            "eta": A(None, "optional number numbers array"),
        },
    )
    yield Call(
        "stationary_covariance",
        inf.stationary_covariance,
        {
            "net": A(neti),
            "theta": A(settled, "array"),
            "step_size": A(0.01, "number"),
            "batch_size": A(2, "count"),
            "rtol": A(1e-10, "number"),
            "method": A("sampling"),
            "samples": A(40, "count"),
            "rng": rng,
        },
    )
    yield Call("reduce", inf.reduce, {"neti": A(neti), "theta": A(settled, "array")})
    yield Call("overlaps", inf.overlaps, {"net": A(neti), "theta": any_theta})
    yield Call(
        "gaussian_moment",
        inf.gaussian_moment,
        {
            "f": A("erf"),
            "g": A("relu"),
            **{name: A(0.5, "numbers array") for name in ("r1", "r2", "u", "b1", "b2")},
            "orders": A((0, 0), "array list"),
            "method": A("auto"),
            "rtol": A(1e-10, "number"),
            "full_output": A(False, flag),
        },
    )
    yield Call(
        "gaussian_mean",
        inf.gaussian_mean,
        {
            "f": A("erf"),
            "r": A(0.5, "numbers array"),
            "b": A(0.5, "numbers array"),
            "order": A(0, "count"),
            "method": A("auto"),
            "rtol": A(1e-10, "number"),
            "full_output": A(False, flag),
        },
    )
    yield Call(
        "gaussian_expectation",
        inf.gaussian_expectation,
        {
            "function": A(lambda x: x[:, 0], "function"),
            "mean": A(0.0, "numbers"),
            "cov": A(1.0, "numbers"),
            "rtol": A(1e-8, "number"),
            "full_output": A(False, flag),
        },
    )
    inputs = A(X[:3], "array")
    kernel = {
        "layers": A(["erf"], "list"),
        "X": inputs,
        "Y": A(None, "array optional"),
        "weight_std": A(1.0, "number array"),
        "bias_std": A(0.5, "number array"),
        "gradient": A(False, flag),
        "rtol": A(1e-10, "number"),
    }
    yield Call("nngp_kernel", inf.nngp_kernel, kernel)
    yield Call("ntk_kernel", inf.ntk_kernel, kernel)
    yield Call(
        "mean_field",
        inf.mean_field,
        {
            "activation": A("erf"),
            "weight_std": A(1.0, "number"),
            "bias_std": A(0.5, "number"),
            "start": A(1.0, "number"),
        },
    )
    yield Call("available_methods", inf.available_methods, {"f": A("erf"), "g": A("relu")})
    yield Call(
        "closed_form",
        lambda f, g, **options: inf.closed_form(f, g, **options),
        {
            "f": A("erf"),
            "g": A("step"),
            "biases": A(False, flag),
            "derivatives": A((0, 0), "array list optional"),
        },
    )
    yield Call(
        "bivariate_normal_cdf",
        inf.bivariate_normal_cdf,
        {name: A(0.5, "numbers number array") for name in "hku"},
    )
    yield Call(
        "OrderParameters",
        inf.OrderParameters,
        {
            "neti": A(soft),
            "learning_rate": A(0.1, "number numbers array"),
            "second_layer_rate": A(None, "number numbers array optional"),
            "half_loss": A(False, flag),
            "fourth_moments": A("sampling"),
            "samples": A(1000, "count"),
            "rng": rng,
            "batch_size": A(2, "count"),
            "constraint": A("sphere", "optional"),
            "schedule": A({"noise": [(0, 0.1)]}, "optional"),
            "spectrum": A(None, "optional"),
            "input_noise": A(0.1, "number"),
        },
    )
    committee = inf.Equilibrium("relu", 2.0, 1.0)
    yield Call(
        "Equilibrium",
        inf.Equilibrium,
        {"activation": A("relu"), "K": A(3.0, "number"), "alpha": A(0.5, "number")},
    )
    for name in ("curvature", "generalization_error"):
        yield Call(
            f"Equilibrium.{name}", getattr(committee, name), {"z": A([0.3, 0.1, 0.0], "array")}
        )
    yield Call(
        "Equilibrium.evaluate",
        committee.evaluate,
        {"z": A([0.3, 0.1, 0.0], "array"), "order": A(2, "count")},
    )
    yield Call("Equilibrium.with_alpha", committee.with_alpha, {"alpha": A(0.5, "number")})
    yield Call(
        "Spectrum", inf.Spectrum, {"eigenvalues": A([1.0], "array"), "shares": A([1.0], "array")}
    )
    yield Call(
        "Spectrum.power_law",
        inf.Spectrum.power_law,
        {"beta": A(0.5, "number"), "levels": A(4, "count"), "nodes": A(2, "count optional")},
    )
    for name in ("check", "derivative", "generalization_error", "fixed_point", "jacobian"):
        yield Call(f"OrderParameters.{name}", getattr(ode, name), {"state": A(state, "array")})
    yield Call("OrderParameters.state", ode.state, {"theta": A(student, "array")})
    yield Call(
        "OrderParameters.lift",
        ode.lift,
        {"state": A(state, "array"), "D": A(5, "count"), "rng": rng},
    )
    yield Call(
        "OrderParameters.fluctuations",
        ode.fluctuations,
        {
            "progress": A(False, flag),
            "initial": A(state, "array"),
            "D": A(5, "count"),
            "t_end": A(0.01, "number optional"),
            "t_eval": A(None, "array optional"),
            "num_trajectory": A(2, "count"),
            "samples": A(16, "count"),
            "rng": rng,
            "max_time": A(1.0, "number"),
        },
    )
    yield Call(
        "OrderParameters.simulate",
        ode.simulate,
        {
            "progress": A(False, flag),
            "initial": A(state, "array"),
            "D": A(5, "count"),
            "t_eval": A([0.0, 1.0], "array"),
            "rng": rng,
        },
    )
    yield Call(
        "OrderParameters.solve",
        ode.solve,
        {
            "progress": A(False, flag),
            "initial": A(state, "array"),
            "t_end": A(0.01, "number optional"),
            "t_eval": A(None, "array optional"),
            "num_trajectory": A(3, "count"),
            "solver": A("radau"),
            "rtol": A(1e-3, "number"),
            "atol": A(1e-3, "number"),
            "min_error": A(0.0, "number"),
            "max_time": A(1.0, "number"),
            "max_steps": A(3, "count"),
        },
    )
    of_train = {
        "solver": A("rk4"),
        "t_end": A(0.01, "number"),
        "rtol": A(1e-3, "number"),
        "atol": A(1e-3, "number"),
        "eta": A(1.0, "numbers array number"),
        "step_size": A(None, "optional"),
        "solver_options": A({}, "mapping optional"),
        "dynamics": A(inf.ModifiedFlow(0.1), "optional"),
        "num_trajectory": A(3, "count"),
        "t_eval": A(None, "array optional"),
        "observables": A(None, "list mapping optional array"),
        "max_time_flow": A(1.0, "number"),
        "max_steps_flow": A(3, "count"),
        "optimizer": A("newton"),
        "optimizer_options": A({}, "mapping optional"),
        "polish": A(None, "optional"),
        "max_time_newton": A(1.0, "number"),
        "max_steps_newton": A(1, "count"),
        "min_loss": A(1e-3, "number"),
        "min_gradient_norm": A(1e-3, "number"),
        "patience": A(3, "count"),
        "batch_size": A(None, "optional"),
        "progress": A(False, flag),
        "callback": A(None, "function optional"),
        "checkpoint": A(None, "path optional"),
        "reduce": A("auto", flag),
    }
    yield Call("HeavyBall", inf.HeavyBall, {"friction": A(0.5, "number function")})
    yield Call("NaturalGradient", inf.NaturalGradient, {"damping": A(0.5, "number")})
    yield Call("ModifiedFlow", inf.ModifiedFlow, {"step_size": A(0.5, "number")})
    yield Call(
        "SGDDiffusion",
        inf.SGDDiffusion,
        {
            "step_size": A(0.5, "number"),
            "batch_size": A(2, "count"),
            "rng": rng,
            "modified": A(False, flag),
        },
    )
    yield Call("train", inf.train, {"net": any_net, "theta0": any_theta, **of_train})
    discrete = {
        "solver": A("gd"),
        "max_steps_flow": A(2, "count"),
        "max_steps_newton": A(0, "count"),
        "t_end": A(1.0, "number"),
    }
    yield Call(
        "train by descent",
        inf.train,
        {
            "net": any_net,
            "theta0": any_theta,
            **discrete,
            "step_size": A(0.1, "number"),
            "batch_size": A(3, "count optional"),
            "progress": A(False, flag),
        },
    )
    yield Call(
        "train_many",
        inf.train_many,
        {"net": any_net, "thetas": A([theta], "list array"), "n_jobs": A(1, "count"), **of_train},
    )
    yield Call(
        "unique_solutions",
        inf.unique_solutions,
        {
            "results": A(runs, "list array"),
            "net": A(data, "optional"),
            "rtol": A(1e-4, "number"),
            "loss_rtol": A(1e-4, "number"),
            "loss_atol": A(1e-4, "number"),
            "converged_only": A(False, flag),
            "teacher_symmetry": A(False, flag),
        },
    )
    yield Call(
        "trajectory_distance",
        inf.trajectory_distance,
        {"a": A(result, "array"), "b": A(result, "array")},
    )
    yield Call(
        "classify",
        inf.classify,
        {
            "net": any_net,
            "theta": any_theta,
            "frozen": A(None, "optional"),
            "teacher": A(teacher, "optional"),
            "samples": A(1, "count"),
            "seed": rng,
            "eta": A(None, "optional number numbers array"),
            "method": A("auto"),
            "progress": A(False, flag),
        },
    )
    yield Call(
        "classify of a family",
        inf.classify,
        {
            "net": A(fam),
            "theta": any_z,
            "frozen": A(None, "optional"),
            "teacher": A(None, "optional"),
            "samples": A(1, "count"),
            "seed": rng,
            "method": A("auto"),
            "progress": A(False, flag),
        },
    )
    yield Call(
        "certify of a family",
        inf.certify,
        {"net": A(fam), "theta": any_z, "frozen": A(None, "optional"), "precision": A(64, "count")},
    )
    yield Call(
        "certify",
        inf.certify,
        {
            "net": A(soft),
            "theta": A(student, "array"),
            "frozen": A(None, "optional"),
            "gauge": A("auto", "optional"),
            "precision": A(64, "count"),
            "eta": A(None, "optional number numbers array"),
            "progress": A(False, flag),
        },
    )
    yield Call(
        "atlas",
        inf.atlas,
        {
            "net": A(soft),
            "starts": A(1, "count array"),
            "rng": rng,
            "links": A(False, flag),
            "teacher_symmetry": A("auto", "name " + flag),
            "progress": A(False, flag),
        },
    )
    yield Call(
        "continuation",
        inf.continuation,
        {
            "problem": A(lambda c: Parabola(c), "function"),
            "theta": A([0.0], "array list"),
            "start": A(0.0, "number"),
            "stop": A(1.0, "number"),
            "frozen": A(None, "optional"),
            "step": A(None, "optional number"),
            "max_step": A(None, "optional number"),
            "max_points": A(3, "count"),
        },
    )
    yield Call("Result.load", inf.Result.load, {"path": A("result", "path")})
    yield Call("Result.save", result.save, {"path": A("saved", "path")})
    yield Call("Result.plot", result.plot, {"ax": A(None, "optional axes")})
    yield Call("Result.to_xarray", result.to_xarray, {"net": A(data, "optional")})
    yield Call(
        "sweep",
        inf.sweep,
        {
            "function": A(run_of_sweep),
            "grid": A({"seed": [1]}, "mapping list"),
            "store": A("swept.db", "path"),
            "fixed": A(None, "mapping optional"),
            "backend": A("sequential"),
            "n_jobs": A(1, "count"),
            "scheduler": A(None, "text optional"),
            "retry_failed": A(False, flag),
            "recompute_damaged": A(False, flag),
            "slot": A(0, "count"),
            "slots": A(1, "count"),
            "progress": A(False, flag),
            "callback": A(None, "function optional"),
        },
    )
    yield Call(
        "sweep over seed",
        lambda value: inf.sweep(
            run_of_sweep, {"seed": [value]}, "over.db", backend="sequential", progress=False
        ),
        {"value": A(1, "number numbers count flag text path array list mapping optional")},
    )
    yield Call("Sweep", inf.Sweep, {"store": A(None), "keys": A(None, "optional list")})
    yield Call("Sweep.load", inf.Sweep.load, {"path": A("given.db", "path")})
    for name in ("arrays", "details"):
        yield Call(f"Sweep.{name}", getattr(table, name), {"row": A(0, "count")})
    yield Call("Sweep.to_xarray", table.to_xarray, {"arrays": A((), "list array")})
    yield Call(
        "split_neuron",
        inf.split_neuron,
        {
            "net": any_net,
            "theta": any_theta,
            "i": A(0, "count"),
            "gamma": A(0.5, "number"),
            "layer": A(0, "count"),
        },
    )
    yield Call(
        "grow",
        inf.grow,
        {
            "net": any_net,
            "theta": any_theta,
            "k": A(1, "count"),
            "rng": rng,
            "output": A("zero"),
            "init": A("glorot_normal", "function"),
            "activation": A(None, "optional"),
            "layer": A(0, "count"),
        },
    )
    yield Call(
        "shrink",
        inf.shrink,
        {"net": any_net, "theta": any_theta, "rtol": A(1e-10, "number"), "layer": A(0, "count")},
    )
    plane = {
        "net": any_net,
        "theta": any_theta,
        "d1": A(np.eye(9)[0], "array"),
        "d2": A(np.eye(9)[1], "array"),
    }
    yield Call(
        "minimise_orthogonal",
        inf.minimise_orthogonal,
        {
            **plane,
            "a1": A(0.1, "number"),
            "a2": A(0.1, "number"),
            "start": A(None, "optional array"),
            "optimizer": A("newton"),
            "max_steps": A(1, "count"),
            "max_time": A(1.0, "number"),
            "min_gradient_norm": A(0.1, "number"),
        },
    )
    yield Call(
        "loss_on_plane",
        inf.loss_on_plane,
        {
            **plane,
            "a1": A([0.1], "array"),
            "a2": A([0.1], "array"),
            "minimise": A(True, flag),
            "max_steps": A(1, "count"),
        },
    )
    yield Call(
        "cosine_similarity",
        inf.cosine_similarity,
        {"a": A([1.0, 0.0], "array"), "b": A(None, "array optional")},
    )
    yield Call(
        "solution_distance",
        inf.solution_distance,
        {"net": any_net, "a": any_theta, "b": any_theta, "rtol": A(1e-6, "number")},
    )
    yield Call("from_torch", inf.from_torch, {"module": A(None)})
    yield Call("to_torch", inf.to_torch, {"net": any_net, "theta": any_theta})
    yield Call("hessian_operator", inf.hessian_operator, {"net": any_net, "theta": any_theta})
    yield Call(
        "extreme_eigenpairs",
        inf.extreme_eigenpairs,
        {
            "net": any_net,
            "theta": any_theta,
            "k": A(1, "count"),
            "rtol": A(1e-10, "number"),
            "max_iterations": A(None, "count optional"),
            "rng": rng,
        },
    )
    yield Call(
        "spectral_density",
        inf.spectral_density,
        {
            "net": any_net,
            "theta": any_theta,
            "x": A([0.0, 1.0], "array optional"),
            "width": A(0.1, "number optional"),
            "steps": A(3, "count"),
            "probes": A(2, "count"),
            "rng": rng,
        },
    )
    yield Call(
        "convergence",
        inf.convergence,
        {
            "setting": A(None, "optional"),
            "jobs": A(1, "count"),
            "progress": A(False, flag),
            "N": A((10, 20), "array list"),
            "seeds": A(2, "count"),
            "seed": A(3, "seed"),
            "input_dim": A(2, "count"),
            "teacher_width": A(1, "count"),
            "student_width": A(1, "count"),
            "noise": A(0.1, "number"),
            "activation": A("erf"),
        },
    )
    yield Call("set_num_threads", inf.set_num_threads, {"n": A(None, "count optional")})
    for name in ("to", "from_"):
        yield Call(
            f"conventions.{name}",
            getattr(inf.conventions, name),
            {
                "convention": A("goldt"),
                "quantity": A("weights"),
                "value": A(1.0, "numbers array number"),
                "input_dim": A(3, "count number"),
            },
        )
    yield Call(
        "conventions.to_weight_matrices",
        inf.conventions.to_weight_matrices,
        {"net": A(net), "theta": any_theta},
    )
    yield Call(
        "conventions.from_weight_matrices",
        inf.conventions.from_weight_matrices,
        {"net": A(net), "matrices": A(inf.conventions.to_weight_matrices(net, theta), "list")},
    )
    for name in ("GradientFlowRegressor", "GradientFlowClassifier"):
        kind = getattr(inf.sklearn, name)
        labels = np.arange(12) % 2
        fitted = kind((2,), tol=1e3).fit(X, labels)

        def fit(kind=kind, labels=labels, **options):
            return kind(**options).fit(X, labels)

        yield Call(
            f"sklearn.{name}",
            fit,
            {
                "hidden_layer_sizes": A((2,), "array list count"),
                "activation": A("tanh"),
                "loss": A(None, "optional"),
                "ridge": A(1e-4, "number"),
                "t_end": A(1.0, "number"),
                "tol": A(1e-2, "number"),
                "rtol": A(1e-2, "number"),
                "solver": A("rk4"),
                "newton": A(False, flag),
                "max_steps": A(2, "count"),
                "n_starts": A(1, "count"),
                "random_state": A(0, "seed optional"),
            },
        )
        yield Call(
            f"sklearn.{name}.fit",
            kind((2,), tol=1e3).fit,
            {
                "X": A(X, "array"),
                "y": A(labels, "array"),
                "sample_weight": A(None, "optional array number"),
            },
        )
        for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
            if hasattr(fitted, method):
                yield Call(
                    f"sklearn.{name}.{method}", getattr(fitted, method), {"X": A(X, "array")}
                )
    surrogate = {"name": A("tanh"), "surrogates_dir": A(None, "optional path")}
    for name in ("card", "load"):
        yield Call(f"surrogates.{name}", getattr(inf.surrogates, name), surrogate)
    yield Call(
        "surrogates.available",
        inf.surrogates.available,
        {"surrogates_dir": A(None, "optional path")},
    )
    yield Call("surrogates.export", inf.surrogates.export, {**surrogate, "format": A("numpy")})
    yield Call(
        "surrogates.verify",
        inf.surrogates.verify,
        {
            **surrogate,
            "n": A(100, "count"),
            "rng": rng,
            "networks": A(0, "count"),
            "activation": A(None, "optional"),
        },
    )
    ax = A(None, "optional axes")
    yield Call(
        "plotting.new_axes",
        inf.plotting.new_axes,
        {"width": A(3.6, "number"), "height": A(2.7, "number")},
    )
    online = ode.solve(student, 0.01, num_trajectory=3)
    yield Call(
        "plotting.plot_order_parameters",
        inf.plotting.plot_order_parameters,
        {"result": A(online), "ax": ax},
    )
    for name in ("plot", "save", "to_xarray"):
        arguments = {"plot": {"ax": ax}, "save": {"path": A("online", "path")}, "to_xarray": {}}[
            name
        ]
        yield Call(f"OnlineResult.{name}", getattr(online, name), arguments)
    online.save("kept")
    yield Call("OnlineResult.load", type(online).load, {"path": A("kept", "path")})
    yield Call(
        "plotting.plot_atlas",
        inf.plotting.plot_atlas,
        {"atlas": A(inf.atlas(soft, 1, links=False)), "ax": ax},
    )
    yield Call(
        "plotting.plot_branch",
        inf.plotting.plot_branch,
        {
            "branch": A(inf.continuation(Parabola, [0.0], 0.0, 1.0, max_points=3)),
            "ax": ax,
        },
    )
    yield Call(
        "plotting.plot_alignment",
        inf.plotting.plot_alignment,
        {"net": A(neti), "theta": any_theta, "ax": ax},
    )
    yield Call(
        "plotting.plot_convergence", inf.plotting.plot_convergence, {"result": A(None), "ax": ax}
    )
    yield Call(
        "plotting.plot_integral",
        inf.plotting.plot_integral,
        {
            "f": A("erf"),
            "g": A(None, "optional"),
            "r": A((0.05, 3.0), "array list"),
            "orders": A((0, 0), "array list"),
            "points": A(3, "count"),
            "ax": ax,
        },
    )
    yield Call(
        "plotting.plot_loss",
        inf.plotting.plot_loss,
        {"result": A(result), "gradient_norm": A(True, flag), "ax": ax},
    )
    yield Call(
        "plotting.plot_neurons",
        inf.plotting.plot_neurons,
        {"net": A(data), "result": A(result), "directions": A(None, "array optional"), "ax": ax},
    )
    yield Call(
        "plotting.plot_overlaps",
        inf.plotting.plot_overlaps,
        {"net": A(neti), "result": A(result), "which": A("QR"), "ax": ax},
    )
    yield Call(
        "plotting.plot_spectrum",
        inf.plotting.plot_spectrum,
        {"net": A(data), "result": A(result), "points": A(3, "count"), "ax": ax},
    )

    yield from _parts(net, theta, teacher, ode, state, data)


def _parts(net, theta, teacher, ode, state, data):
    """What stands inside of arguments: entries of lists, options."""
    (W, b), second = net.unpack(theta)
    Q, R, v = state
    eye = np.eye(2)

    def part(name, function, value, kinds=""):
        return Call(name, lambda value: function(value), {"value": A(value, kinds)})

    yield part("a layer", lambda x: inf.Net([x], input_dim=2), (2, "erf", True))
    yield part("a width", lambda x: inf.Net([(x, "erf", True)], input_dim=2), 2, "count")
    yield part("an activation", lambda x: inf.Net([(2, x, True)], input_dim=2), "erf")
    yield part(
        "an activation of one neuron",
        lambda x: inf.Net([(2, ["erf", x], True)], input_dim=2),
        "erf",
    )
    yield part("a bias", lambda x: inf.Net([(2, "erf", x)], input_dim=2), True, "flag")
    yield part("a pair", lambda x: net.pack([x, second]), (W, b))
    yield part("a matrix", lambda x: net.pack([(x, b), second]), W, "array")
    yield part("a bias vector", lambda x: net.pack([(W, x), second]), b, "array")
    yield part(
        "a kink", lambda x: inf.Activation.from_callable("n", np.tanh, kinks=[x]), 0.5, "numbers"
    )
    yield part(
        "a derivative",
        lambda x: inf.Activation.from_callable("n", np.tanh, [x]),
        lambda x: 1 - np.tanh(x) ** 2,
    )
    yield part(
        "a line",
        lambda x: inf.FunctionTeacher(lambda z: z[:, 0], eye, kinks=[x]),
        ([1.0, 0.0], 0.5),
    )
    yield part(
        "a normal",
        lambda x: inf.FunctionTeacher(lambda z: z[:, 0], eye, kinks=[(x, 0.5)]),
        [1.0, 0.0],
        "array",
    )
    yield part(
        "an offset",
        lambda x: inf.FunctionTeacher(lambda z: z[:, 0], eye, kinks=[([1, 0], x)]),
        0.5,
        "number",
    )
    yield part(
        "a covariance", lambda x: inf.GaussianMixture([1.0], np.zeros((1, 2)), [x]), eye, "array"
    )
    yield part(
        "an order",
        lambda x: inf.gaussian_moment("erf", "relu", 1.0, 1.0, 0.3, orders=(x, 0)),
        0,
        "count",
    )
    yield part("Q", lambda x: ode.check((x, R, v)), Q, "array")
    yield part("R", lambda x: ode.check((Q, x, v)), R, "array")
    yield part("v", lambda x: ode.check((Q, R, x)), v, "array")
    quick = {"solver": "rk4", "max_steps_flow": 2, "max_steps_newton": 0, "progress": False}
    yield part(
        "an observable",
        lambda x: inf.train(data, theta, observables={"a": x}, **quick),
        np.sum,
        "function",
    )
    yield part(
        "the name of one", lambda x: inf.train(data, theta, observables=[x], **quick), "lambda_min"
    )
    yield part("a start", lambda x: inf.train_many(data, [x], **quick), theta, "array")
    yield part("a run", lambda x: inf.unique_solutions([x], data), inf.train(data, theta, **quick))
    yield part(
        "values of a setting",
        lambda x: make_runs(run_of_sweep, {"seed": x}, None, 0, 1),
        [1],
        "list array",
    )
    yield part(
        "a point", lambda x: make_runs(run_of_sweep, [x], None, 0, 1), {"seed": 1}, "mapping"
    )
    for registry in (SOLVERS, OPTIMIZERS):
        for name, method in registry.items():
            for option in method.options:
                yield Call(
                    f"option {option} of {name}",
                    lambda value, m=method, o=option: m.check_options({o: value}),
                    {"value": A(OPTIONS.get(option, 1), "number count flag")},
                )


#: valid values of options, where 1 is none
OPTIONS = {
    "linear_solver": "dense",
    "library": "scipy",
    "momentum": 0.5,
    "beta1": 0.9,
    "beta2": 0.9,
}


#: calls that end in an error of infflow as they are: PyTorch is not there, or there is nothing to
#: give
REFUSED = ("from_torch", "to_torch", "jax_loss", "torch_loss", "Sweep", "plotting.plot_convergence")


def outcome(call, **changed):
    """ "ok", "refused" (an error of infflow), or what else was raised."""
    arguments = {name: argument.value for name, argument in call.arguments.items()} | changed
    names = list(arguments)[: call.positional]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", AccuracyWarning)
        warnings.simplefilter("ignore", SolverWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            with limited(120.0):
                given = [arguments.pop(name) for name in names]
                call.function(*given, **arguments)
        except InfflowError as error:
            str(error).encode("utf-8")  # can be printed
            return "refused"
        except Exception as error:
            text = " ".join(str(error).split())[:160]
            return f"{type(error).__name__}: {text}"
    return "ok"


def share_of_calls(share, shares=8):
    return [call for number, call in enumerate(_cases()) if number % shares == share]


def failures(call):
    """One line for each value that ends in a foreign error, or is accepted although it is of
    another kind.
    """
    as_it_is = outcome(call)
    if as_it_is != ("refused" if call.name in REFUSED else "ok"):
        yield f"{call.name}: the call itself: {as_it_is}"
    for name, argument in call.arguments.items():
        place = (call.name, name)
        for label, make, right_for in VALUES:
            if label in ENDLESS.get(place, ()):
                continue
            found = outcome(call, **{name: make()})
            right = right_for & set(argument.kinds.split()) or label in ON_PURPOSE.get(place, ())
            if found == "ok" and not right:
                yield f"{call.name}({name}={label}): accepted in silence"
            if found not in ("ok", "refused") and label not in FAILING_FUNCTIONS.get(place, ()):
                yield f"{call.name}({name}={label}): {found}"


class TooLongError(Exception):
    pass


@contextlib.contextmanager
def limited(seconds):
    """Raise where a call does not end (where signals can do that)."""

    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_):
        raise TooLongError(f"not finished after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("share", range(8))
def test_no_value_ends_in_a_foreign_error_or_is_accepted_in_silence(share, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = [line for call in share_of_calls(share) for line in failures(call)]
    assert not found, f"{len(found)} failures:\n" + "\n".join(found[:100])


def public_names():
    """All public callables, methods of public classes as ``Class.method``."""
    found = {name: getattr(inf, name) for name in inf.__all__}
    for module in ("sklearn", "conventions", "surrogates", "plotting"):
        names = PUBLIC_IN.get(module) or getattr(inf, module).__all__
        found |= {f"{module}.{name}": getattr(getattr(inf, module), name) for name in names}
    for name, value in list(found.items()):
        if inspect.isclass(value) and not issubclass(value, Exception) and name not in NOT_CALLED:
            found |= {
                f"{name}.{method}": None
                for method, each in vars(value).items()
                if is_method(method, each)
            }
    return set(found) | {
        f"Result.{name}" for name, each in vars(inf.Result).items() if is_method(name, each)
    }


def is_method(name, value):
    return not name.startswith("_") and (
        callable(value) or isinstance(value, (classmethod, staticmethod))
    )


#: public names of modules that have no ``__all__``
PUBLIC_IN = {
    "sklearn": ["GradientFlowRegressor", "GradientFlowClassifier"],
    "conventions": [
        "to",
        "from_",
        "to_weight_matrices",
        "from_weight_matrices",
        "Quantity",
        "Convention",
    ],
}


def test_every_public_callable_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called = {call.name for call in _cases()}
    assert sorted(public_names() - called - set(NOT_CALLED)) == []
    assert sorted(set(NOT_CALLED) - public_names()) == []
    missing = {
        call.name: set(inspect.signature(call.function).parameters)
        - set(call.arguments)
        - {"arguments", "changes", "options", "sizes"}
        for call in _cases()
        if call.name in public_names() and call.name not in HANDED_ON
    }
    assert {name: each for name, each in missing.items() if each} == {}
    rows = {
        (call.name, name): argument
        for call in _cases()
        for name, argument in call.arguments.items()
    }
    labels = {value.label for value in VALUES}
    for table in (ON_PURPOSE, FAILING_FUNCTIONS, ENDLESS):
        assert set(table) <= set(rows)
        assert {label for each in table.values() for label in each} <= labels


# -- configuration files ---------------------------------------------------------------------------

SMALL = {
    "student": {
        "hidden": 2,
        "input_dim": 3,
        "activation": "erf",
        "bias": False,
        "output_bias": False,
    },
    "teacher": {"hidden": 2, "seed": 4},
}


def refusals(call):
    """What else than an error of infflow a call ends in, if anything."""
    try:
        with warnings.catch_warnings(), limited(120.0):
            warnings.simplefilter("error")
            call()
    except InfflowError as error:
        str(error).encode("utf-8")
    except Exception as error:
        yield f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def build(table):
    configuration = Configuration.from_dict(table)
    net = configuration.problem()
    configuration.start(net)
    configuration.train_arguments()


def test_no_setting_ends_in_a_foreign_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables = []
    for section, kind in SECTIONS.items():
        for value in VALUES:
            tables += [(f"[{section}] = {value.label}", {**SMALL, section: value.make()})]
            for field in fields(kind):
                changed = {**SMALL.get(section, {}), field.name: value.make()}
                tables += [(f"{section}.{field.name} = {value.label}", {**SMALL, section: changed})]
    found = [
        f"{name}: {each}"
        for name, table in tables
        for each in refusals(lambda table=table: build(table))
    ]
    doors = {
        "from_dict": Configuration.from_dict,
        "load": Configuration.load,
        "SweepFile.load": SweepFile.load,
        "train_configuration": lambda value: train_configuration(config=value),
    }
    for name, door in doors.items():
        for value in VALUES:
            found += [
                f"{name}({value.label}): {each}"
                for each in refusals(lambda d=door, v=value: d(v.make()))
            ]
    assert not found, f"{len(found)} failures:\n" + "\n".join(found[:100])


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 3000 + "]" * 3000, "a = " + "9" * 5000, "a = 1\nb", "\ud800", "a\0 = 1"]
)
def test_texts_that_are_no_configuration(text, tmp_path):
    file = tmp_path / "config.toml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    for load in (Configuration.load, SweepFile.load):
        with pytest.raises(ConfigurationError, match=r"config\.toml"):
            load(file)
