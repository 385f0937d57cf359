"""Teachers that are any function of one or two projections of the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...._validation import (
    Array,
    as_items,
    as_number,
    as_real_array,
    as_rng,
    counted,
    public,
    shown,
)
from ....errors import InvalidTypeError, InvalidValueError, ShapeError
from ....integrals.cubature.expectation import Integrand
from ...finite.net import check_columns

_MAX_PROJECTIONS = 2


class FunctionTeacher:
    """Targets ``y = F(V x)`` with an arbitrary function of up to two projections; may be
    discontinuous.

    Parameters
    ----------
    F : callable
        Takes projections ``z = V x`` of shape ``(n, k)``, returns ``(n,)`` or ``(n, O)``.
    V : array (k, D) or (D,)
        Directions, k = 1 or 2; of any length, not necessarily orthogonal.
    noise : float
        Standard deviation of Gaussian label noise; adds ``noise**2`` per output to the
        infinite-data loss.
    kinks : sequence of (normal, offset), or of numbers for k = 1
        Lines ``normal @ z = offset`` (points ``z = offset``) on which F or a derivative jumps.
        Without them jumps and kinks are looked for. Where k = 1, this is done once, by bisection,
        and costs no accuracy. Where k = 2, it is done in every integral, which is slow, and the
        tolerance is often missed, with a warning. Features, and gaps between jumps, that are
        narrower than 0.01 (k = 1) or 0.1 (k = 2) standard deviations of the projections may be
        overlooked.

    Raises
    ------
    InvalidTypeError, ShapeError, InvalidValueError
        If F cannot be called on points, or returns another shape or NaN; if V or kinks have another
        shape.

    See Also
    --------
    PolynomialTeacher : polynomials of any number of projections.
    quadrature_net : any function of two inputs, for deep students.

    Examples
    --------
    >>> import numpy as np
    >>> kinks = [([1, 0], 0), ([0, 1], 0)]
    >>> parity = FunctionTeacher(lambda z: np.sign(z[:, 0] * z[:, 1]), np.eye(2, 5), kinks=kinks)
    >>> parity.predict(np.ones((1, 5)))
    array([[1.]])
    """

    @public
    def __init__(
        self, F: Callable[[Array], Any], V: ArrayLike, noise: float = 0.0, kinks: Sequence[Any] = ()
    ) -> None:
        self.V = np.atleast_2d(as_real_array("V", V, ndim=(1, 2))).copy()
        k = len(self.V)
        if not 1 <= k <= _MAX_PROJECTIONS or self.V.shape[1] == 0:
            raise ShapeError(
                f"V has shape {self.V.shape}; 1 or {_MAX_PROJECTIONS} rows are possible, one per "
                "projection, and one column per input. "
                "Sample finite data with inf.Net for functions of more projections."
            )
        self.function = Integrand("F", F, k)
        self.noise = as_number("noise", noise, minimum=0.0)
        self.normals, self.offsets = _lines(kinks, k)

    @property
    def input_dim(self) -> int:
        """Number D of inputs."""
        return self.V.shape[1]

    @property
    def output_dim(self) -> int:
        """Number O of outputs."""
        return self.function.outputs

    def predict(self, X: Any) -> Array:
        """Noise-free outputs ``(N, O)`` for inputs ``(N, D)``."""
        X = as_real_array("X", X, ndim=2)
        check_columns("X", X, self.input_dim)
        values = self.function(X @ self.V.T)
        if np.isinf(values).any():
            raise InvalidValueError("F returned an infinite value for one of these inputs.")
        return values

    def label(self, X: Any, rng: Any) -> Array:
        """Targets ``(N, O)``: the outputs with fresh label noise."""
        y = self.predict(X)
        return y + self.noise * as_rng(rng).standard_normal(y.shape) if self.noise > 0 else y

    def __repr__(self) -> str:
        return (
            f"FunctionTeacher({counted(len(self.V), 'projection')}, input_dim={self.input_dim}, "
            f"output_dim={self.output_dim}, noise={self.noise:g})"
        )


def _lines(kinks: Sequence[Any], k: int) -> tuple[Array, Array]:
    """Normals (lines, k) and offsets (lines,)."""
    lines = as_items(
        "kinks", kinks, "a list of lines (normal, offset), or of numbers for one projection,"
    )
    normals = np.empty((len(lines), k))
    offsets = np.empty(len(lines))
    for row, line in enumerate(lines):
        if k == 1 and isinstance(line, Real):
            normals[row], offsets[row] = 1.0, as_number("kinks", line)
            continue
        if not isinstance(line, (list, tuple)) or len(line) != 2:
            raise InvalidTypeError(
                f"kinks contains {shown(line)}; pairs (normal, offset) of lines normal @ z = "
                "offset are needed."
            )
        normal, offset = line
        normal = np.atleast_1d(as_real_array("the normal of a kink", normal))
        if normal.shape != (k,) or not normal.any():
            raise ShapeError(
                f"kinks contains the normal {normal.tolist()}; {counted(k, 'number')}, not all "
                "0, must stand there."
            )
        normals[row], offsets[row] = normal, as_number("the offset of a kink", offset)
    return normals, offsets
