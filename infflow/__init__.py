"""infflow: teacher-student neural networks in the limit of infinite Gaussian data.

Exact losses, gradients and Hessians of one-hidden-layer networks with infinitely many Gaussian
inputs, and of multilayer perceptrons with finite data, driven by the same gradient-flow integrators
and Newton methods. ``import infflow as inf`` gives all public names; each is loaded when it is first
used, so that importing costs little.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from . import compile_cache
from ._version import __version__

compile_cache.ensure()

# Public name -> module that defines it.
_HOME = {
    "Activation": "activations",
    "polynomial": "activations",
    "Net": "networks.net",
    "NetI": "networks.neti",
    "Teacher": "networks.teacher",
    "FunctionTeacher": "networks.function_teacher",
    "quadrature_net": "networks.quadrature_net",
    "Gaussian": "networks.inputs",
    "GaussianMixture": "networks.inputs",
    "random_params": "networks.parameters",
    "loss": "networks.functions",
    "gradient": "networks.functions",
    "hessian": "networks.functions",
    "hvp": "networks.functions",
    "hessian_spectrum": "networks.functions",
    "gradient_covariance": "networks.statistics",
    "finite_data_prediction": "networks.statistics",
    "overlaps": "networks.statistics",
    "Evaluation": "objective",
    "gaussian_moment": "integrals.moments",
    "gaussian_mean": "integrals.moments",
    "gaussian_expectation": "integrals.expectation",
    "available_methods": "integrals.moments",
    "closed_form": "integrals.formulas",
    "bivariate_normal_cdf": "integrals.bivariate_normal",
    "OrderParameters": "online.order_parameters",
    "train": "training",
    "classify": "points.classify",
    "certify": "points.certify",
    "Result": "result",
    "trajectory_distance": "result",
    "train_many": "many",
    "unique_solutions": "many",
    "sweep": "sweeps.run",
    "Sweep": "sweeps.table",
    "split_neuron": "landscape.neurons",
    "grow": "landscape.neurons",
    "shrink": "landscape.neurons",
    "minimise_orthogonal": "landscape.plane",
    "loss_on_plane": "landscape.plane",
    "cosine_similarity": "landscape.distance",
    "solution_distance": "landscape.distance",
    "from_torch": "interop",
    "to_torch": "interop",
    "hessian_operator": "spectrum",
    "extreme_eigenpairs": "spectrum",
    "spectral_density": "spectrum",
    "convergence": "studies.convergence",
    "set_num_threads": "threads",
    "InfflowError": "errors",
    "AccuracyWarning": "errors",
    "SingularMomentError": "errors",
}

# Modules that are reached as attributes, ``inf.io`` and so on, and loaded when they are.
_MODULES = ("conventions", "io", "plotting", "sklearn", "surrogates")

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'infflow' has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
