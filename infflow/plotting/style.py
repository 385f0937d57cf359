"""The look of all pictures: one style file, used in a context so that the reader's own settings
stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from .._validation import as_number, shown
from ..errors import InvalidTypeError

#: The style file; ``matplotlib.style.use(infflow.plotting.STYLE)`` gives other pictures the same
#: look.
STYLE = str(Path(__file__).with_name("infflow.mplstyle"))

#: Colours of the style's cycle, which survive colour blindness; names such as "C0" would be looked
#: up when a figure is drawn, outside the style.
COLORS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#999999",
)
BLUE, ORANGE = COLORS[:2]

#: Widest picture that a page shows at its own size, in inches at 100 dots per inch.
PAGE_WIDTH = 7.4

_Function = TypeVar("_Function", bound=Callable[..., Any])


def style() -> Any:
    """A context in which matplotlib uses :data:`STYLE`."""
    import matplotlib.style

    return matplotlib.style.context(STYLE)


def color(k: int) -> str:
    """Colour k of the style; after the last one they begin again."""
    return COLORS[k % len(COLORS)]


def sparse_log_ticks(axis: Any) -> None:
    """Ticks of a logarithmic axis that don't collide: powers of ten, or 1, 2 and 5 of each where
    there would be fewer than three of them.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_minor_formatter(NullFormatter())
    if high < 1000 * low:
        subs = (1.0, 2.0, 5.0) if high < 100 * low else (1.0, 3.0)
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def short(value: float) -> str:
    """A number for a tick: in full between 0.001 and 10,000, else with a power of ten."""
    if 0.999e-3 <= abs(value) < 0.999e4 or value == 0:
        return f"{value:g}"
    digits, power = f"{value:.2e}".split("e")
    number = f"10^{{{int(power)}}}"
    return f"${number}$" if float(digits) == 1 else rf"${float(digits):g}\times{number}$"


def tidy(figure: Any) -> None:
    """Sparse ticks on all logarithmic axes of a figure that is complete."""
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            if axis.get_scale() == "log" and axis.get_visible():
                sparse_log_ticks(axis)


def new_axes(width: float = 3.6, height: float = 2.7) -> Any:
    """Axes of a fresh figure in the package's style, sizes in inches.

    The figure is made without pyplot, for files: no window or global state is involved, and nobody
    has to close it.
    """
    from matplotlib.figure import Figure

    width, height = (
        as_number(name, value, minimum=0.1, maximum=1e3)
        for name, value in (("width", width), ("height", height))
    )
    with style():
        return Figure(figsize=(width, height), layout="constrained").add_subplot()


def picture(function: _Function) -> _Function:
    """Run a function ``(..., ax=None) -> Axes`` in the style; make the axes if none are given,
    check them if they are.

    A figure that is made belongs to pyplot: a notebook shows it below the cell, once, and
    ``pyplot.show()`` opens its window.
    """

    @wraps(function)
    def drawn(*args: Any, ax: Any = None, **options: Any) -> Any:
        from matplotlib.axes import Axes

        if ax is not None and not isinstance(ax, Axes):
            raise InvalidTypeError(
                f"ax is {shown(ax)}; a matplotlib Axes is needed, e.g. from "
                "matplotlib.pyplot.subplots."
            )
        if ax is not None:
            with style():
                return function(*args, ax=ax, **options)
        import matplotlib.pyplot as plt

        # Outside of the style, which would undo what a backend that starts here sets.
        figure = plt.figure()
        try:
            with style():
                figure.set_size_inches(plt.rcParams["figure.figsize"])
                figure.set_dpi(plt.rcParams["figure.dpi"])
                figure.set_layout_engine("constrained")
                return function(*args, ax=figure.add_subplot(), **options)
        except BaseException:
            plt.close(figure)  # nobody is shown half a picture
            raise

    return drawn  # type: ignore[return-value]
