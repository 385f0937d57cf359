"""Whether a point that is no critical one lies on a path that ends at infinity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..channels import EndUnit, Limit, find_limit, is_covered, units_at
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
    mask = np.zeros(len(theta), dtype=bool)
    mask[free] = True
    if not is_covered(net) or mask.sum() > DENSE:
        return None
    rules = StopRules(np.inf, _STEPS, -np.inf, 0.0, _STEPS)
    if few is None or not mask.all():
        found = find_limit(net, theta, mask, rules)
        return None if found is None else found.limit
    red = few.reduction
    found = find_limit(red.net, red.theta, np.ones(len(red.theta), dtype=bool), rules)
    if found is None or found.limit is None:
        return None
    return replace(found.limit, coordinates=red.lift(found.limit.coordinates))


def what_runs_off(net: Net | NetI, theta: Array, free: NDArray[np.intp]) -> str:
    """A sentence on neurons that look as if they ran off; empty where none does."""
    mask = np.zeros(len(theta), dtype=bool)
    mask[free] = True
    if not is_covered(net) or mask.sum() > DENSE:
        return ""
    guesses = units_at(net, theta, mask)
    if not guesses:
        return ""
    units: tuple[EndUnit, ...] = guesses[0]
    return (
        f" These look as if they ran off, but no smooth minimum at infinity was found: "
        f"{'; '.join(map(str, units))}."
    )
