"""Which parameters are held fixed: by a mask, by ``eta`` of zero, or by that of a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._validation import as_array, as_real_array
from ..errors import InvalidTypeError, InvalidValueError, ShapeError


class HasParameters(Protocol):
    """What is asked of a network."""

    @property
    def num_params(self) -> int:
        """Number P of its parameters."""
        ...


def frozen_by(net: HasParameters, theta: Any, frozen: Any, eta: Any) -> Any:
    """What is frozen: as it was said, or by ``eta``, or by that of a ``Result``; None
    for nothing.
    """
    if frozen is not None and eta is not None:
        raise InvalidValueError("frozen and eta say the same; give one of them.")
    if frozen is not None:
        return frozen
    settings = getattr(theta, "settings", None)
    if eta is None and isinstance(settings, Mapping):
        eta = settings.get("eta")
    if eta is None:
        return None
    scales = as_real_array("eta", eta)
    if scales.shape not in ((), (net.num_params,)):
        raise ShapeError(
            f"eta has shape {scales.shape}; a number or an array of shape ({net.num_params},) is "
            "needed."
        )
    if (scales < 0.0).any():
        raise InvalidValueError("eta must not be negative.")
    return np.broadcast_to(scales == 0.0, (net.num_params,))


def free_parameters(frozen: Any, num_params: int) -> NDArray[np.intp]:
    """Indices of the parameters that are not frozen."""
    if frozen is None:
        return np.arange(num_params)
    mask = as_array("frozen", frozen)
    if mask.dtype != np.bool_:
        raise InvalidTypeError(
            f"frozen has dtype {mask.dtype}; a boolean array is needed, True where a parameter "
            "is held fixed (eta == 0)."
        )
    if mask.shape != (num_params,):
        raise ShapeError(f"frozen has shape {mask.shape}; ({num_params},) is needed.")
    if mask.all():
        raise InvalidValueError("frozen holds all parameters fixed; at least one must be free.")
    return np.flatnonzero(~mask)
