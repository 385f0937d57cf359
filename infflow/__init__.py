"""Teacher-student neural networks in the limit of infinite Gaussian data.

Losses, gradients and Hessians are exact: of networks with one hidden layer for infinitely many
Gaussian inputs (NetI), and of multilayer perceptrons on finite data (Net). The same gradient-flow
integrators and Newton methods train both. ``import infflow as inf`` gives all names below, and each
is loaded when it is first used. Begin with ``help(inf.train)`` and ``help(inf.NetI)``.

Networks and data
    Net: a multilayer perceptron, with or without data
    NetI: a student and a teacher at infinitely many inputs
    SymmetricNetI: students and orthonormal teachers in blocks, any size
    Teacher, FunctionTeacher, PolynomialTeacher: what labels the inputs
    Gaussian, GaussianMixture: the distribution of the input
    Loss: base class of losses on finite data
    random_params: random initial parameters
    quadrature_net: a Net of any depth at the nodes of a Gaussian rule
    reduce: the same network in the inputs that its weights span

Losses and derivatives
    loss, gradient, hessian, hvp: at theta; hvp multiplies without forming the Hessian
    hessian_spectrum, hessian_eigenvalues: with eigenvectors; with multiplicities
    hessian_operator, extreme_eigenpairs, spectral_density: of Hessians too large to form
    mixed_hessian: second derivatives in student and teacher
    overlaps: covariances of students and teachers
    gradient_covariance, fisher: of single samples; of the network's outputs
    gradient_noise_scale, stationary_covariance: batches and noise of stochastic descent
    finite_data_prediction: what N samples change, to leading order in 1/N
    information_exponent, leap_exponent: how hard a target is to learn at first
    Evaluation: value, gradient and Hessian of an objective of yours

Flow and fixed points
    train, Result: follow the flow, then search its fixed point
    train_many, unique_solutions: from many starts; which solutions they found
    HeavyBall, NaturalGradient, ModifiedFlow, SGDDiffusion: other dynamics for train
    classify, certify: what kind of point it is; a proof of it
    convergence: finite-data solutions against the infinite-data one
    trajectory_distance: how far two trajectories are apart
    OrderParameters, Spectrum: online learning in many dimensions, coloured inputs
    Equilibrium: free energy of a committee at high temperature

Landscape
    atlas, Atlas: critical points, and which saddles join which minima
    continuation, Branch: a critical point followed along a parameter
    split_neuron, grow, shrink: networks of other widths, the same function
    loss_on_plane, minimise_orthogonal: the loss on planes, and minimised across them
    cosine_similarity, solution_distance: of weight vectors; of networks as functions

Activations and Gaussian integrals
    activation, Activation, polynomial: activations by name or of your own
    gaussian_moment, gaussian_mean: E f g of two pre-activations; E f of one
    available_methods: how a pair of activations can be integrated
    closed_form: the formula of an integral, by sympy
    hermite_coefficients: of an activation, in orthonormal polynomials
    gaussian_expectation: of any function of up to three inputs
    bivariate_normal_cdf: P(X < h, Y < k)

Many runs, other packages
    sweep, Sweep: a function at all points of a grid, saved as it runs
    from_torch, to_torch, torch_loss, jax_loss: networks and losses of PyTorch and JAX
    nngp_kernel, ntk_kernel, mean_field: networks of infinite width
    set_num_threads: of linear algebra
    InfflowError, AccuracyWarning, SingularMomentError: errors and warnings

Modules: inf.plotting (pictures), inf.sklearn (estimators), inf.conventions (factors of other
papers), inf.surrogates (perceptrons in place of integrals). ``infflow --help`` in a shell is for
work without Python.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import compile_cache
from ._version import __version__ as __version__

compile_cache.ensure()

if TYPE_CHECKING:  # editors and type checkers see the names below; tests compare both lists
    from . import plotting as plotting
    from . import surrogates as surrogates
    from .activations import Activation as Activation
    from .activations import polynomial as polynomial
    from .activations.naming import activation as activation
    from .branches.branch import Branch as Branch
    from .branches.continuation import continuation as continuation
    from .classification.classify import classify as classify
    from .critical_points.atlas import Atlas as Atlas
    from .critical_points.atlas import atlas as atlas
    from .dynamics.heavy_ball import HeavyBall as HeavyBall
    from .dynamics.modified_flow import ModifiedFlow as ModifiedFlow
    from .dynamics.natural_gradient import NaturalGradient as NaturalGradient
    from .dynamics.sgd_diffusion import SGDDiffusion as SGDDiffusion
    from .errors import AccuracyWarning as AccuracyWarning
    from .errors import InfflowError as InfflowError
    from .errors import SingularMomentError as SingularMomentError
    from .exchange import conventions as conventions
    from .exchange import sklearn as sklearn
    from .exchange.jax_loss import jax_loss as jax_loss
    from .exchange.kernels import nngp_kernel as nngp_kernel
    from .exchange.kernels import ntk_kernel as ntk_kernel
    from .exchange.mean_field import mean_field as mean_field
    from .exchange.torch import from_torch as from_torch
    from .exchange.torch import to_torch as to_torch
    from .exchange.torch_loss import torch_loss as torch_loss
    from .integrals.closed.bivariate_normal import bivariate_normal_cdf as bivariate_normal_cdf
    from .integrals.closed.formulas import closed_form as closed_form
    from .integrals.cubature.expectation import gaussian_expectation as gaussian_expectation
    from .integrals.hermite_coefficients import hermite_coefficients as hermite_coefficients
    from .integrals.moments import available_methods as available_methods
    from .integrals.moments import gaussian_mean as gaussian_mean
    from .integrals.moments import gaussian_moment as gaussian_moment
    from .landscape.distance import cosine_similarity as cosine_similarity
    from .landscape.distance import solution_distance as solution_distance
    from .landscape.neurons import grow as grow
    from .landscape.neurons import shrink as shrink
    from .landscape.neurons import split_neuron as split_neuron
    from .landscape.plane import loss_on_plane as loss_on_plane
    from .landscape.plane import minimise_orthogonal as minimise_orthogonal
    from .many import train_many as train_many
    from .many import unique_solutions as unique_solutions
    from .networks.eigenvalues import hessian_eigenvalues as hessian_eigenvalues
    from .networks.eigenvalues import hessian_spectrum as hessian_spectrum
    from .networks.finite.losses.loss import Loss as Loss
    from .networks.finite.net import Net as Net
    from .networks.finite.quadrature_net import quadrature_net as quadrature_net
    from .networks.fisher import fisher as fisher
    from .networks.functions import hessian as hessian
    from .networks.functions import hvp as hvp
    from .networks.functions import loss as loss
    from .networks.infinite.families.orbits import SymmetricNetI as SymmetricNetI
    from .networks.infinite.neti import NetI as NetI
    from .networks.infinite.reduction import reduce as reduce
    from .networks.infinite.targets.exponents import information_exponent as information_exponent
    from .networks.infinite.targets.exponents import leap_exponent as leap_exponent
    from .networks.infinite.targets.function_teacher import FunctionTeacher as FunctionTeacher
    from .networks.infinite.targets.polynomial_teacher import PolynomialTeacher as PolynomialTeacher
    from .networks.inputs import Gaussian as Gaussian
    from .networks.inputs import GaussianMixture as GaussianMixture
    from .networks.parameters import random_params as random_params
    from .networks.sgd_noise import gradient_noise_scale as gradient_noise_scale
    from .networks.sgd_noise import stationary_covariance as stationary_covariance
    from .networks.statistics import finite_data_prediction as finite_data_prediction
    from .networks.statistics import gradient_covariance as gradient_covariance
    from .networks.statistics import overlaps as overlaps
    from .networks.teacher import Teacher as Teacher
    from .networks.teacher_derivatives import gradient as gradient
    from .networks.teacher_derivatives import mixed_hessian as mixed_hessian
    from .objective import Evaluation as Evaluation
    from .online.equilibrium import Equilibrium as Equilibrium
    from .online.order_parameters import OrderParameters as OrderParameters
    from .online.spectrum import Spectrum as Spectrum
    from .proofs.certify import certify as certify
    from .result import Result as Result
    from .result import trajectory_distance as trajectory_distance
    from .spectrum import extreme_eigenpairs as extreme_eigenpairs
    from .spectrum import hessian_operator as hessian_operator
    from .spectrum import spectral_density as spectral_density
    from .studies.finite_vs_infinite.convergence import convergence as convergence
    from .sweeps.run import sweep as sweep
    from .sweeps.table import Sweep as Sweep
    from .threads import set_num_threads as set_num_threads
    from .training import train as train

# Public name -> module that defines it.
_HOME = {
    "Activation": "activations",
    "polynomial": "activations",
    "activation": "activations.naming",
    "Net": "networks.finite.net",
    "Loss": "networks.finite.losses.loss",
    "NetI": "networks.infinite.neti",
    "SymmetricNetI": "networks.infinite.families.orbits",
    "Teacher": "networks.teacher",
    "FunctionTeacher": "networks.infinite.targets.function_teacher",
    "PolynomialTeacher": "networks.infinite.targets.polynomial_teacher",
    "information_exponent": "networks.infinite.targets.exponents",
    "leap_exponent": "networks.infinite.targets.exponents",
    "quadrature_net": "networks.finite.quadrature_net",
    "Gaussian": "networks.inputs",
    "GaussianMixture": "networks.inputs",
    "random_params": "networks.parameters",
    "loss": "networks.functions",
    "gradient": "networks.teacher_derivatives",
    "mixed_hessian": "networks.teacher_derivatives",
    "hessian": "networks.functions",
    "hvp": "networks.functions",
    "hessian_spectrum": "networks.eigenvalues",
    "hessian_eigenvalues": "networks.eigenvalues",
    "reduce": "networks.infinite.reduction",
    "gradient_covariance": "networks.statistics",
    "fisher": "networks.fisher",
    "stationary_covariance": "networks.sgd_noise",
    "gradient_noise_scale": "networks.sgd_noise",
    "finite_data_prediction": "networks.statistics",
    "overlaps": "networks.statistics",
    "Evaluation": "objective",
    "gaussian_moment": "integrals.moments",
    "gaussian_mean": "integrals.moments",
    "hermite_coefficients": "integrals.hermite_coefficients",
    "gaussian_expectation": "integrals.cubature.expectation",
    "available_methods": "integrals.moments",
    "closed_form": "integrals.closed.formulas",
    "bivariate_normal_cdf": "integrals.closed.bivariate_normal",
    "OrderParameters": "online.order_parameters",
    "Spectrum": "online.spectrum",
    "Equilibrium": "online.equilibrium",
    "train": "training",
    "HeavyBall": "dynamics.heavy_ball",
    "NaturalGradient": "dynamics.natural_gradient",
    "ModifiedFlow": "dynamics.modified_flow",
    "SGDDiffusion": "dynamics.sgd_diffusion",
    "classify": "classification.classify",
    "continuation": "branches.continuation",
    "Branch": "branches.branch",
    "certify": "proofs.certify",
    "Result": "result",
    "trajectory_distance": "result",
    "train_many": "many",
    "unique_solutions": "many",
    "atlas": "critical_points.atlas",
    "Atlas": "critical_points.atlas",
    "sweep": "sweeps.run",
    "Sweep": "sweeps.table",
    "split_neuron": "landscape.neurons",
    "grow": "landscape.neurons",
    "shrink": "landscape.neurons",
    "minimise_orthogonal": "landscape.plane",
    "loss_on_plane": "landscape.plane",
    "cosine_similarity": "landscape.distance",
    "solution_distance": "landscape.distance",
    "jax_loss": "exchange.jax_loss",
    "torch_loss": "exchange.torch_loss",
    "nngp_kernel": "exchange.kernels",
    "ntk_kernel": "exchange.kernels",
    "mean_field": "exchange.mean_field",
    "from_torch": "exchange.torch",
    "to_torch": "exchange.torch",
    "hessian_operator": "spectrum",
    "extreme_eigenpairs": "spectrum",
    "spectral_density": "spectrum",
    "convergence": "studies.finite_vs_infinite.convergence",
    "set_num_threads": "threads",
    "InfflowError": "errors",
    "AccuracyWarning": "errors",
    "SingularMomentError": "errors",
}

# Modules that are reached as attributes, ``inf.plotting`` and so on, and loaded when they are.
_MODULES = {
    "conventions": "exchange.conventions",
    "plotting": "plotting",
    "sklearn": "exchange.sklearn",
    "surrogates": "surrogates",
}

_NAMES = ["__version__", *_HOME]

if not TYPE_CHECKING:  # a name that does not exist is an error to a type checker, too

    def __getattr__(name: str) -> Any:
        # ``help(infflow)`` shows the docstring above. With a list of names pydoc would load them
        # all, and write all of their docstrings after it: 6,000 lines.
        if name == "__all__" and sys._getframe(1).f_globals.get("__name__") != "pydoc":
            return list(_NAMES)
        if name in _MODULES:
            return import_module(f"{__name__}.{_MODULES[name]}")
        if name not in _HOME:
            raise AttributeError(f"module 'infflow' has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted([*_NAMES, *_MODULES])
