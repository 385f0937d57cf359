"""Whether a point that is no critical one lies on a path that ends at infinity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..channels import Limit, Verdict, find_limit, is_covered
from ..fixedpoints.problem import DENSE
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from ..stopping import StopRules
from .few_inputs import InFewInputs

#: steps of the search for the end
_STEPS = 400


def end_at_infinity(
    net: Net | NetI, theta: Array, free: NDArray[np.intp], few: InFewInputs | None
) -> Limit | None:
    """The end of the path through ``theta`` (P,), or None where none was found.

    Parameters
    ----------
    net : Net with data, or NetI
    theta : (P,) array
    free : (n,) indices
        Parameters that may move.
    few : InFewInputs, optional
        The same in the inputs that the weights span.
    """
    if not is_covered(net):
        return None
    mask = np.zeros(len(theta), dtype=bool)
    mask[free] = True
    rules = StopRules(np.inf, _STEPS, -np.inf, 0.0, _STEPS)
    if few is not None and mask.all():
        red = few.reduction
        found = find_limit(red.net, red.theta, np.ones(len(red.theta), dtype=bool), rules)
        if found is None or found.limit is None:
            return None
        return replace(found.limit, coordinates=red.lift(found.limit.coordinates))
    if mask.sum() > DENSE:
        return None
    found = find_limit(net, theta, mask, rules)
    if found is None or found.verdict is not Verdict.AT_INFINITY:
        return None
    return found.limit
