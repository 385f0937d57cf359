"""All eigenvalues of a Hessian, with the multiplicities that symmetry gives them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import summary
from .._validation import Array, counted, public
from ..memory import SPECTRUM, require_memory
from ..objective import Objective, as_objective
from ..threads import limit_for
from .functions import hessian
from .infinite.reduction import Reduction, obstacle, smallest
from .parameters import finite

#: up to this many parameters one matrix is diagonalised
_DENSE = 500


@summary.as_text_and_table
class Eigenvalues(NamedTuple):
    """Eigenvalues of a Hessian; see :func:`hessian_eigenvalues`."""

    values: Array  #: (m,), ascending
    multiplicities: NDArray[np.intp]  #: (m,), how often each occurs

    def _summary(self) -> summary.Summary:
        return of_eigenvalues("Eigenvalues", self.values, [("multiplicities", self.multiplicities)])


@summary.as_text_and_table
class Spectrum(NamedTuple):
    """Eigenvalues ``(P,)``, ascending, and eigenvectors ``(P, P)``, one per column."""

    values: Array
    vectors: Array

    def _summary(self) -> summary.Summary:
        return of_eigenvalues("Spectrum", self.values, [("vectors", f"{self.vectors.shape}")])


def of_eigenvalues(name: str, values: Array, further: list[tuple[str, Any]]) -> summary.Summary:
    """The summary of eigenvalues in ascending order, and of what comes with them."""
    title = f"{name}: {counted(len(values), 'eigenvalue')}"
    if len(values):
        title += f" from {values[0]:.4g} to {values[-1]:.4g}, {(values < 0).sum()} negative"
    return summary.Summary(title, [("values", values), *further])


class PartSpectrum(NamedTuple):
    """Eigenvalues of a Hessian part by part."""

    values: Array  #: (m,), ascending
    vectors: Array  #: (P', m) in the parameters of the extended network, one per column
    multiplicities: NDArray[np.intp]  #: (m,)


def reduced(net: Any, theta: Array) -> Reduction | None:
    """The reduction of a network at a checked theta, where it is smaller."""
    if obstacle(net):
        return None
    found = smallest(net, theta)
    return found if found.is_smaller else None


def spectra_of_parts(red: Reduction, theta_n: Array) -> list[tuple[Array, Array]]:
    """Eigenvalues and vectors of the Hessian on each of the parts of a reduction."""
    net = red.extended
    require_memory(net.num_params, "the spectrum of the Hessian", SPECTRUM)
    H = hessian(net, red.extend(theta_n))
    with limit_for(len(H)):
        return [np.linalg.eigh(H[np.ix_(where, where)]) for where, _ in red.parts]


def spectrum_by_parts(red: Reduction, theta_n: Array) -> PartSpectrum:
    """Spectrum of the whole Hessian, from that of the extended network of a reduction."""
    size = red.extended.num_params
    values = []
    vectors = []
    counts = []
    for part, (own, within) in zip(red.parts, spectra_of_parts(red, theta_n), strict=True):
        lifted = np.zeros((size, len(own)))
        lifted[part.where] = within
        values.append(own)
        vectors.append(lifted)
        counts.append(np.full(len(own), part.multiplicity))
    joined = np.concatenate(values)
    order = np.argsort(joined, kind="stable")
    return PartSpectrum(joined[order], np.hstack(vectors)[:, order], np.concatenate(counts)[order])


@public
def hessian_spectrum(net: Objective, theta: ArrayLike) -> Spectrum:
    """Eigenvalues (ascending) and eigenvectors (columns) of the Hessian at ``theta``; errors as in
    :func:`hessian`.

    Above 500 parameters the eigenvectors of a NetI are found in the inputs that its weights span,
    where these are fewer than all (:func:`infflow.reduce`), and in K x K matrices for the rest.
    :func:`hessian_eigenvalues` needs no matrix of P x P.

    See Also
    --------
    hessian : the matrix.
    hessian_eigenvalues : eigenvalues with multiplicities, of large networks.
    extreme_eigenpairs : both ends, by products.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> found = inf.hessian_spectrum(neti, [1.0, 0.0, 1.0])
    >>> bool((found.values > 0).all()), found.vectors.shape
    (True, (3, 3))
    """
    num_params = as_objective(net).num_params
    require_memory(num_params, "the spectrum of the Hessian", SPECTRUM)
    if num_params > _DENSE and not obstacle(net):
        red = reduced(net, net.check(theta))  # type: ignore[attr-defined]
        if red is not None:
            return _whole_spectrum(red)
    matrix = hessian(net, theta)
    with limit_for(len(matrix)):
        return Spectrum(*np.linalg.eigh(matrix))


def _whole_spectrum(red: Reduction) -> Spectrum:
    """The spectrum of the whole Hessian: vectors of the span are lifted, those outside of it are
    products of one over the neurons and one over the inputs.
    """
    spectra = spectra_of_parts(red, red.theta)
    values = [spectra[0][0]]
    vectors = [red.rotation.lift(np.ascontiguousarray(spectra[0][1].T)).T]
    D = len(red.basis)
    P = len(vectors[0])
    for (own, within), directions in zip(spectra[1:], red.directions(), strict=True):
        count = directions.shape[1]
        values.append(np.repeat(own, count))
        lifted = np.zeros((P, len(own) * count))
        for k, over_neurons in enumerate(within.T):
            block = over_neurons[:, None, None] * directions
            lifted[: len(over_neurons) * D, k * count : (k + 1) * count] = block.reshape(-1, count)
        vectors.append(lifted)
    joined = np.concatenate(values)
    order = np.argsort(joined, kind="stable")
    return Spectrum(joined[order], np.hstack(vectors)[:, order])


@public
def hessian_eigenvalues(net: Objective, theta: ArrayLike) -> Eigenvalues:
    """All eigenvalues of the Hessian at ``theta``, with multiplicities.

    Parameters
    ----------
    net : NetI, Net, or any objective with Hessians
        Where the weights of a NetI span fewer inputs than there are (see :func:`infflow.reduce`),
        matrices are those of the span and K x K matrices for the rest, whatever the number of
        inputs. Of other objectives the whole Hessian is formed, and all multiplicities are 1.
    theta : (P,) array

    Returns
    -------
    Eigenvalues
        Named tuple of values (m,), ascending, and multiplicities (m,), which add up to P. Values
        that are equal by accident, or to rounding, are not put together.

    Raises
    ------
    TooLargeError
        If the matrices that are needed would not fit in memory.
    InfflowError
        Where :func:`infflow.hessian` raises.

    See Also
    --------
    hessian_spectrum : eigenvectors, too.
    reduce : the span in which it works.
    extreme_eigenpairs : both ends, by products.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=50)
    >>> teacher = inf.Teacher(net, inf.random_params(net, rng=1))
    >>> found = inf.hessian_eigenvalues(inf.NetI(net, teacher), inf.random_params(net, rng=2))
    >>> found.multiplicities.tolist(), found.multiplicities.sum()
    ([1, 48, 1, 1], np.int64(51))
    """
    num_params = as_objective(net).num_params
    if not obstacle(net):
        red = reduced(net, net.check(theta))  # type: ignore[attr-defined]
        if red is not None:
            found = spectrum_by_parts(red, red.theta)
            return Eigenvalues(found.values, found.multiplicities)
    require_memory(num_params, "the spectrum of the Hessian", SPECTRUM)
    matrix = hessian(net, theta)
    with limit_for(len(matrix)):
        values = np.asarray(np.linalg.eigvalsh(matrix), dtype=np.float64)
    return Eigenvalues(finite("the spectrum is", values), np.ones(len(values), dtype=np.intp))
