"""Names that users bring from elsewhere, and the nearest of ours.

Three tables: other words for names of methods, activations and the like, one table per
kind of name; other words for keywords; and what to say about keywords that have no equal
here. :func:`suggestion` and :func:`keyword_hint` read them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

_SOFTMAX = (
    "Make the output layer 'identity' and take loss='cross_entropy', which applies the softmax."
)
_NEWTON = "It belongs to the search of fixed points: optimizer={0!r}."
_FLOW = "It belongs to the flow: solver={0!r}."

#: kind of name -> other word -> a name of ours, or a sentence; other words are as
#: :func:`_plain` writes them
SYNONYMS: Mapping[str, Mapping[str, str]] = {
    "activation": {
        "softmax": _SOFTMAX,
        "logsoftmax": _SOFTMAX,
        "swish": "silu",
        "logistic": "sigmoid",
        "expit": "sigmoid",
        "sigmoidfast": "sigmoid",
        "tanhfast": "tanh",
        "hyperbolictangent": "tanh",
        "heaviside": "step",
        "unitstep": "step",
        "threshold": "step",
        "sgn": "sign",
        "signum": "sign",
        "none": "identity",
        "id": "identity",
        "purelin": "identity",
        "quadratic": "square",
        "squared": "square",
        "cubic": "cube",
        "rbf": "gaussian",
        "gauss": "gaussian",
        "bump": "gaussian",
        "sine": "sin",
        "cosine": "cos",
        "exponential": "exp",
        "absolute": "abs",
        "modulus": "abs",
        "ndtr": "normal_cdf",
        "probit": "normal_cdf",
        "phi": "normal_cdf",
        "errorfunction": "erf",
        "softrelu": "softplus",
        "lrelu": "leaky_relu",
        "prelu": "leaky_relu",
        "ramp": "relu",
        "rectifier": "relu",
        "he": "'hermite(3)' is the third Hermite polynomial over sqrt(3!).",
        "polynomial": "inf.polynomial([c0, c1, ...]) makes it.",
    },
    "solver": {
        "euler": "gd",
        "forwardeuler": "gd",
        "expliciteuler": "gd",
        "descent": "gd",
        "gradientdescent": "gd",
        "sgd": "Take 'gd' with step_size and batch_size.",
        "minibatch": "Take 'gd' with step_size and batch_size.",
        "momentum": "Take 'gd' or 'adam'.",
        "nesterov": "Take 'gd' or 'adam'.",
        "rmsprop": "adam",
        "adamw": "Take 'adam'; weight decay is the ridge of the net.",
        "adagrad": "adam",
        "impliciteuler": "gear",
        "backwardeuler": "gear",
        "fbdf": "gear",
        "qndf": "gear",
        "ndf": "gear",
        "ode15s": "gear",
        "ode23s": "rodas3",
        "ode23tb": "trbdf2",
        "ode45": "dopri5",
        "rk45": "dopri5",
        "dp5": "dopri5",
        "dormandprince": "dopri5",
        "rungekutta": "rk4",
        "rosenbrock": "rodas5p",
        "rosenbrock23": "rodas3",
        "rodas": "rodas5p",
        "rodas3p": "rodas3",
        "rodas4": "rodas5p",
        "rodas4p": "rodas5p",
        "rodas5": "rodas5p",
        "rodas5pe": "rodas5p",
        "kencarp3": "kencarp58",
        "kencarp4": "kencarp58",
        "kencarp47": "kencarp58",
        "kencarp5": "kencarp58",
        "esdirk": "kencarp58",
        "sdirk": "kencarp58",
        "cvode": "cvode_bdf",
        "sundials": "cvode_bdf",
        "cvodeadams": "cvode_bdf",
        "radauiia5": "radau",
        "radau5": "radau",
        "exponentialeuler": "exprb",
        "exponential": "exprb",
        "etd": "exprb",
        "vern7": "tsit5",
        "bs3": "tsit5",
        "none": "Take max_steps_flow=0 to leave the flow out.",
        **{
            word: _NEWTON.format(name)
            for word, name in {
                "newton": "newton",
                "newtontrustregion": "newton",
                "levenbergmarquardt": "levenberg_marquardt",
                "gaussnewton": "gauss_newton",
                "bfgs": "bfgs",
                "lbfgs": "lbfgs",
                "slsqp": "slsqp",
            }.items()
        },
    },
    "optimizer": {
        "newtontrustregion": "newton",
        "trustregion": "newton",
        "trustexact": "newton",
        "newtoncg": "newton",
        "trustncg": "newton",
        "lm": "levenberg_marquardt",
        "marquardt": "levenberg_marquardt",
        "leastsquares": "levenberg_marquardt",
        "gn": "gauss_newton",
        "ldslsqp": "slsqp",
        "sqp": "slsqp",
        "lbfgsb": "lbfgs",
        "ldlbfgs": "lbfgs",
        "quasinewton": "bfgs",
        "none": "Take max_steps_newton=0 to leave the search out.",
        "gd": _FLOW.format("gd"),
        "sgd": _FLOW.format("gd"),
        "descent": _FLOW.format("gd"),
        "gradientdescent": _FLOW.format("gd"),
        "adam": _FLOW.format("adam"),
        "adamw": _FLOW.format("adam"),
    },
    "loss": {
        "crossentropyloss": "cross_entropy",
        "categoricalcrossentropy": "cross_entropy",
        "ce": "cross_entropy",
        "xent": "cross_entropy",
        "nll": "cross_entropy",
        "nllloss": "cross_entropy",
        "softmax": "cross_entropy",
        "logloss": "cross_entropy",
        "logistic": "cross_entropy",
        "l2": "mse",
        "squared": "mse",
        "squarederror": "mse",
        "squaredloss": "mse",
        "quadratic": "mse",
        "meansquarederror": "mse",
        "mseloss": "mse",
        "leastsquares": "mse",
        "huberloss": "huber",
        "smoothl1": "huber",
        "smoothl1loss": "huber",
    },
    "init": {
        "glorot": "glorot_normal",
        "xavier": "glorot_normal",
        "xaviernormal": "glorot_normal",
        "xavieruniform": "glorot_uniform",
        "normal": "standard_normal",
        "gaussian": "standard_normal",
        "randn": "standard_normal",
        "uniform": "glorot_uniform",
        **dict.fromkeys(
            ("he", "henormal", "heuniform", "kaiming", "kaimingnormal", "kaiminguniform"),
            "Pass a function init(rng, shape).",
        ),
        "zeros": "Pass a function init(rng, shape), or numpy.zeros(net.num_params) as theta.",
    },
    "method": {
        "exact": "closed",
        "analytic": "closed",
        "analytical": "closed",
        "closedform": "closed",
        "series": "hermite",
        "hermiteseries": "hermite",
        "quadrature": "cubature",
        "quad": "cubature",
        "numerical": "numeric",
        "gausshermite": "cubature",
        "mlp": "surrogate",
        "perceptron": "surrogate",
        "montecarlo": "Take finite data, neti.sample(N, rng).",
        "sampling": "Take finite data, neti.sample(N, rng).",
    },
    "parametrization": {
        "sp": "standard",
        "pytorch": "standard",
        "neuraltangent": "ntk",
        "ntp": "ntk",
        "mf": "mean_field",
        "sphere": "spherical",
        "weightnorm": "spherical",
    },
    "fourth_moments": {
        "exact": "closed",
        "montecarlo": "sampling",
        "mc": "sampling",
        "samples": "sampling",
    },
    "backend": {
        "joblib": "loky",
        "multiprocessing": "loky",
        "processes": "loky",
        "serial": "sequential",
        "none": "sequential",
        "distributed": "dask",
    },
    "convention": {
        "saad": "saad_solla",
        "solla": "saad_solla",
        "mlpgradientflowjl": "mlpgradientflow",
        "brea": "mlpgradientflow",
    },
}

#: other word for a keyword -> names of ours; the first that the function has is meant
KEYWORDS: Mapping[str, tuple[str, ...]] = {
    # MLPGradientFlow.jl
    "alg": ("solver",),
    "maxT": ("t_end",),
    "reltol": ("rtol",),
    "abstol": ("atol",),
    "n_samples_trajectory": ("num_trajectory",),
    "save_everystep": ("num_trajectory",),
    "saveat": ("t_eval",),
    "maxtime_ode": ("max_time_flow", "max_time"),
    "maxiterations_ode": ("max_steps_flow", "max_steps"),
    "maxtime_optim": ("max_time_newton", "max_time"),
    "maxiterations_optim": ("max_steps_newton", "max_steps"),
    "optim_solver": ("optimizer",),
    "min_gnorm": ("min_gradient_norm",),
    "minloss": ("min_loss",),
    "tauinv": ("eta",),
    "batchsize": ("batch_size",),
    "show_progress": ("progress",),
    "progress_interval": ("progress",),
    "verbosity": ("progress",),
    "verbose": ("progress",),
    "num_workers": ("n_jobs",),
    "Din": ("input_dim",),
    "Dout": ("layers",),
    "losstype": ("loss",),
    "distr_fn": ("init",),
    "p": ("theta", "theta0"),
    "derivs": ("orders", "derivatives"),
    "g1": ("method",),
    "g2": ("method",),
    # others
    "T": ("t_end",),
    "tmax": ("t_end",),
    "t_max": ("t_end",),
    "t_span": ("t_end",),
    "tspan": ("t_end",),
    "tol": ("rtol",),
    "lr": ("step_size", "learning_rate"),
    "learning_rate": ("step_size",),
    "step": ("step_size",),
    "dt": ("step_size",),
    "epochs": ("max_steps_flow",),
    "n_steps": ("max_steps_flow", "max_steps"),
    "num_steps": ("max_steps_flow", "max_steps"),
    "max_steps": ("max_steps_flow",),
    "max_iter": ("max_steps_newton", "max_steps"),
    "maxiter": ("max_steps_newton", "max_steps"),
    "max_time": ("max_time_flow",),
    "method": ("solver",),
    "params": ("theta", "theta0"),
    "theta": ("theta0",),
    "theta0": ("theta", "thetas", "initial"),
    "x0": ("theta0", "theta"),
    "X": ("input",),
    "x": ("input", "X"),
    "data": ("input", "X"),
    "inputs": ("input", "X"),
    "features": ("input", "X"),
    "input": ("X",),
    "y": ("target",),
    "Y": ("target", "y"),
    "targets": ("target", "y"),
    "labels": ("target", "y"),
    "target": ("y",),
    "sample_weight": ("weights",),
    "sample_weights": ("weights",),
    "activation": ("layers",),
    "hidden": ("layers",),
    "widths": ("layers",),
    "weight_decay": ("ridge",),
    "l2": ("ridge",),
    "regularization": ("ridge",),
    "seed": ("rng",),
    "random_state": ("rng",),
    "rng": ("seed",),
    "key": ("rng",),
    "n": ("N",),
    "n_samples": ("samples", "N"),
    "num_samples": ("samples", "N"),
    "initializer": ("init",),
    "distribution": ("init", "input"),
    "jobs": ("n_jobs",),
    "workers": ("n_jobs",),
    "folder": ("store", "path"),
    "filename": ("path", "store"),
    "file": ("path",),
    "covariance": ("cov",),
    "sigma": ("cov", "noise"),
    "std": ("noise",),
}

#: keywords without an equal, and what to do instead
_ELSEWHERE: Mapping[str, str] = {
    "maxnorm": "It belongs to the network: inf.Net(..., maxnorm=c), inf.NetI(..., maxnorm=c).",
    "ridge": "It belongs to the network: inf.Net(..., ridge=lam), inf.NetI(..., ridge=lam).",
    "weight_decay": (
        "Take ridge of the network, lambda/2 |theta|^2: inf.Net(..., ridge=lam), inf.NetI(..., "
        "ridge=lam)."
    ),
    "merge": "It belongs to the network: inf.Net(..., merge=...), inf.NetI(..., merge=...).",
    "input": "Data belong to the network: inf.Net(layers, input=X, target=y), net.with_data(X, y).",
    "target": "Data belong to the network: inf.Net(layers, input=X, target=y), "
    "net.with_data(X, y).",
    "weights": "Sample weights belong to the network: "
    "inf.Net(layers, input=X, target=y, weights=w).",
    "derivs": "Leave it out: work space is made where it is first used.",
    "bias_adapt_input": "Leave it out: input needs no rows of ones for the biases.",
    "copy_input": "Leave it out: input is checked, and copied where it has to be.",
    "result": "Leave it out: all of it is in the Result.",
    "include": "Leave it out: all of it is in the Result.",
    "exclude": "Leave it out: all of it is in the Result.",
    "hessian_template": "Leave it out: the Hessian is made where it is needed.",
    "use_component_arrays": "Leave it out: parameters are one vector, "
    "net.unpack(theta) gives its parts.",
    "seed": (
        "It takes no random choice; give rng where theta is drawn, inf.random_params(net, "
        "rng=seed)."
    ),
    "rng": (
        "It takes no random choice; give rng where theta is drawn, inf.random_params(net, "
        "rng=seed)."
    ),
}


def suggestion(kind: str, given: str, known: Iterable[str]) -> str:
    """A sentence with the name that is meant, after a space, or nothing where none is near."""
    names = list(known)
    if kind == "activation" and given.partition("(")[0] in names:
        return " A name with a parameter is written like 'leaky_relu(0.2)'."
    word = _plain(given)
    plain_names = {_plain(name): name for name in reversed(names)}
    meant = plain_names.get(word) or SYNONYMS.get(kind, {}).get(word) or _nearest(word, plain_names)
    if meant is None:
        return ""
    if meant in names:
        return f" Did you mean {meant!r}?"
    return f" {meant}" if " " in meant else ""


def keyword_hint(given: str, known: Iterable[str]) -> str:
    """The same for a keyword of a function with the parameters ``known``."""
    names = list(known)
    for name in KEYWORDS.get(given, ()):
        if name in names:
            return f" Did you mean {name!r}?"
    if given in _ELSEWHERE:
        return f" {_ELSEWHERE[given]}"
    lower = {name.lower(): name for name in reversed(names)}
    meant = _nearest(given[:_LONGEST].lower(), lower)
    return f" Did you mean {meant!r}?" if meant is not None else ""


def _nearest(word: str, names: Mapping[str, str]) -> str | None:
    """The name whose key looks most like a word, or None where none does."""
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return names[near[0]] if near else None


#: so many letters of a name are compared with others
_LONGEST = 60


def _plain(name: str) -> str:
    """A name without case, arguments, underscores, hyphens and spaces: ``Rodas5P()`` is
    ``rodas5p``.
    """
    start = name[:_LONGEST].lower().partition("(")[0]
    return "".join(letter for letter in start if letter.isalnum())
