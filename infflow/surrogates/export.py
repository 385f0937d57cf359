"""Surrogates as functions of other array libraries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .._validation import as_choice, package, public
from ..integrals.surrogate import files as surrogate_files
from .portable import potential

FORMATS = ("numpy", "jax", "torch")
# Arrays of the perceptron; the other numbers are taken as Python floats.
_LAYERS = tuple(
    f"{part}_{kind}{layer}" for part in ("even", "odd") for kind in "Wb" for layer in (1, 2, 3)
)


@public
def export(
    name: str, format: str = "numpy", surrogates_dir: Any = None
) -> Callable[[Any, Any, Any], Any]:
    r"""A surrogate as a function of another array library, which can differentiate, batch and
    compile it.

    Parameters
    ----------
    name : str
        Name of the activation.
    format : {"numpy", "jax", "torch"}
        "jax": computes in float64 only with ``jax.config.update("jax_enable_x64", True)``, called
        before. "torch": in float64, on the device of its arguments.
    surrogates_dir : path, optional
        As for :func:`infflow.surrogates.load`.

    Returns
    -------
    callable
        ``f(r1, r2, u)``, an approximation of :math:`\E[f(r_1 x) f(r_2 y)]` for standard normal x, y
        of correlation u. The arguments are arrays of the library or numbers, broadcast, and are not
        checked against the domain on the card.

    Raises
    ------
    MissingPackageError
        If the library is not installed.
    MethodError, StorageError
        If there is no such surrogate, or its files cannot be used.

    Notes
    -----
    The formula is in ``infflow/surrogates/portable.py``, one file that imports nothing of infflow.

    Examples
    --------
    >>> import infflow as inf
    >>> kernel = inf.surrogates.export("tanh")
    >>> bool(abs(kernel(1.0, 1.0, 0.5) - inf.gaussian_moment("tanh", "tanh", 1.0, 1.0, 0.5)) < 1e-6)
    True
    """
    format = as_choice("format", format, FORMATS)
    arrays = dict(surrogate_files.load(name, surrogates_dir).form.arrays)
    return {"numpy": _numpy, "jax": _jax, "torch": _torch}[format](arrays)


def _numpy(arrays: dict[str, Any]) -> Callable[[Any, Any, Any], Any]:
    def kernel(r1: Any, r2: Any, u: Any) -> Any:
        r1, r2, u = (np.asarray(x, dtype=np.float64) for x in (r1, r2, u))
        return potential(arrays, r1, r2, u, np)[()]

    return kernel


def _jax(arrays: dict[str, Any]) -> Callable[[Any, Any, Any], Any]:
    jnp = package("jax.numpy", "format='jax'", "jax")
    converted = {
        key: jnp.asarray(value) if key in _LAYERS else value for key, value in arrays.items()
    }

    def kernel(r1: Any, r2: Any, u: Any) -> Any:
        r1, r2, u = (jnp.asarray(x, dtype=float) for x in (r1, r2, u))
        return potential(converted, r1, r2, u, jnp)

    return kernel


def _torch(arrays: dict[str, Any]) -> Callable[[Any, Any, Any], Any]:
    torch = package("torch", "format='torch'", "torch")
    tensor = partial(torch.as_tensor, dtype=torch.float64)
    layers = {key: tensor(value) for key, value in arrays.items() if key in _LAYERS}

    def kernel(r1: Any, r2: Any, u: Any) -> Any:
        device = next(
            (x.device for x in (r1, r2, u) if isinstance(x, torch.Tensor)), torch.device("cpu")
        )
        r1, r2, u = (tensor(x).to(device) for x in (r1, r2, u))
        here = {key: value.to(device) for key, value in layers.items()}
        return potential({**arrays, **here}, r1, r2, u, torch)

    return kernel
