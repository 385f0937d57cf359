"""Pictures of Gaussian integrals."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._validation import as_integer, as_real_array, shown
from ..activations import resolve
from ..errors import InvalidValueError
from ..integrals.moments import gaussian_moment
from .style import picture

#: most points along an axis
_MOST_POINTS = 10_000


@picture
def plot_integral(
    f: Any,
    g: Any = None,
    *,
    r: Any = (0.05, 3.0),
    orders: tuple[int, int] = (0, 0),
    points: int = 61,
    ax: Any = None,
    **options: Any,
) -> Any:
    r"""The surface :math:`\E[f^{(p)}(r x)\, g^{(q)}(r y)]` over the correlation u of x and y and
    the standard deviation r.

    Parameters
    ----------
    f, g : str or Activation
        Activations; ``g`` is ``f`` if not given.
    r : (float, float)
        Smallest and largest standard deviation.
    orders : (int, int)
        Orders p and q of the derivatives.
    points : int
        Grid points in each direction.
    ax : matplotlib Axes, optional
        Made with a figure of pyplot if not given.
    **options
        Further arguments of :func:`infflow.gaussian_moment`, such as ``rtol`` or ``method``.

    Returns
    -------
    Axes

    Raises
    ------
    InfflowError
        Of :func:`infflow.gaussian_moment`, for instance where the moment is infinite on the grid.
    """
    first = resolve(f)
    second = first if g is None else resolve(g)
    low, high = _bounds(r)
    number = as_integer("points", points, minimum=2, maximum=_MOST_POINTS)
    if isinstance(orders, list):
        orders = tuple(orders)
    # the ends u = -1, 1 are left out where derivatives of kinked activations are infinite
    limit = 1.0 if isinstance(orders, tuple) and orders == (0, 0) else 1.0 - 1.0 / number
    u = np.linspace(-limit, limit, number)
    size = np.linspace(low, high, number)
    values = gaussian_moment(
        first, second, size[:, None], size[:, None], u[None, :], orders=orders, **options
    )
    values = np.asarray(values, dtype=float)
    surface = ax.contourf(u, size, values, levels=20)
    surface.set_edgecolor("face")  # no white lines between the levels in PDF
    lines = ax.contour(u, size, values, levels=surface.levels[::4], colors="white", linewidths=0.4)
    ax.clabel(lines, fontsize=8, fmt="%.3g")
    ax.figure.colorbar(surface, ax=ax, label=_label(first.name, second.name, orders))
    ax.set(xlabel="correlation $u$", ylabel="standard deviation $r$")
    return ax


def _bounds(r: Any) -> tuple[float, float]:
    limits = as_real_array("r", r)
    if limits.shape != (2,) or not 0.0 < limits[0] < limits[1]:
        raise InvalidValueError(f"r is {shown(r)}; two increasing positive numbers are needed.")
    return float(limits[0]), float(limits[1])


def _label(f: str, g: str, orders: tuple[int, int]) -> str:
    def written(name: str, order: int, variable: str) -> str:
        mark = "'" * order if order < 4 else f"^{{({order})}}"
        return rf"\mathrm{{{name.replace('_', chr(92) + '_')}}}{mark}(r{variable})"

    return rf"$\mathrm{{E}}[{written(f, orders[0], 'x')}\,{written(g, orders[1], 'y')}]$"
