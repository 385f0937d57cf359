r"""Perceptrons that stand in for Gaussian integrals: files, cards, checks and export.

A surrogate approximates :math:`\E[f(h_1) f(h_2)]` of two neurons without biases by one smooth
function of their covariances. ``NetI(..., method="surrogate")`` uses it; closed forms and series
are more exact and often faster (:doc:`/surrogates`).

| room or file | what it holds | who calls it |
|---|---|---|
| `measure.py` | the errors on a card, as networks feel them | `save`, `verify.py` |
| `verify.py` | whether these errors hold on fresh points | users, `cli` |
| `export.py`, `portable.py` | surrogates as functions of other array libraries | users |
| `training/` | new surrogates | users, `cli` |

See Also
--------
NetI : ``method="surrogate"`` uses them.

Examples
--------
>>> import infflow as inf
>>> "tanh" in inf.surrogates.available()
True
"""

from __future__ import annotations

from typing import Any

from .._validation import as_rng, public, shown
from ..activations import Activation, resolve
from ..errors import InvalidTypeError, InvalidValueError
from ..integrals.closed import pairs as closed
from ..integrals.surrogate import files as surrogate_files
from ..integrals.surrogate.files import Surrogate
from ..integrals.surrogate.form import SurrogateForm
from .export import export
from .verify import Verification, verify

__all__ = ["Surrogate", "Verification", "available", "card", "export", "load", "save", "verify"]


@public
def available(surrogates_dir: Any = None) -> tuple[str, ...]:
    """Names of the activations that have a surrogate.

    Parameters
    ----------
    surrogates_dir : path, optional
        A folder searched beside the shipped one; by default the one that the environment variable
        INFFLOW_SURROGATES names.
    """
    return surrogate_files.names(surrogates_dir)


@public
def load(name: str, surrogates_dir: Any = None) -> Surrogate:
    """The surrogate of an activation: its potential as a function of (r1, r2, u), its card, its
    domain.

    Parameters
    ----------
    name : str
        Name of the activation.
    surrogates_dir : path, optional
        As for :func:`available`; the own folder comes first.

    Raises
    ------
    MethodError
        If there is none.
    StorageError
        If a file is missing, truncated, altered or of another format; the message names it.
    """
    return surrogate_files.load(name, surrogates_dir)


@public
def card(name: str, surrogates_dir: Any = None) -> dict[str, Any]:
    """The card of a surrogate: domain, formula, training, size, checksum, errors.

    Parameters and errors are those of :func:`load`.
    """
    return dict(load(name, surrogates_dir).card)


def save(
    form: SurrogateForm, info: dict[str, Any], folder: Any, activation: Activation | None = None
) -> Surrogate:
    """Measure the errors of a surrogate and write ``NAME.npz`` and its card ``NAME.json``.

    Parameters
    ----------
    form : SurrogateForm
    info : dict
        What is known of the training (recipe, seed, seconds, ...); goes to the card as
        ``"training"``.
    folder : path
        Where to; existing files are replaced, each atomically.
    activation : Activation, optional
        What the surrogate stands for; needed if its name is not registered.

    Returns
    -------
    Surrogate
        As :func:`load` reads it.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an argument cannot be used.
    StorageError
        If the folder does not exist.
    """
    from . import measure as errors

    if not isinstance(form, SurrogateForm):
        raise InvalidTypeError(
            f"form is {shown(form)}; a SurrogateForm, as train_surrogate returns it, is needed."
        )
    if not isinstance(info, dict):
        raise InvalidTypeError(f"info is {shown(info)}; a dictionary is needed.")
    target = resolve(form.activation) if activation is None else activation
    if not isinstance(target, Activation) or target.name != form.activation:
        raise InvalidValueError(
            f"activation is {shown(activation)}, but the surrogate is for {form.activation!r}."
        )
    domain = errors.domain(form)
    other = int(not closed.is_defined(target))
    points = errors.HELD_OUT[other]
    networks = errors.NETWORKS[other]
    seed = errors.HELD_OUT_SEED
    about = {
        "errors": errors.measure(form, target, *domain, points, as_rng(seed)),
        "networks": errors.measure_networks(form, target, networks, as_rng(seed)),
        "held_out": {"points": points, "networks": networks, "seed": seed},
        "training": info,
    }
    path = surrogate_files.write(form, target, domain, about, folder)
    return surrogate_files.load(form.activation, path.parent)
