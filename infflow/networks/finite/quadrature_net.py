"""Networks of any depth on the nodes of a rule instead of samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..._validation import Array, as_choice, as_integer, as_number, as_rng, counted, public
from ...errors import InvalidTypeError, InvalidValueError, ShapeError
from ...integrals.cubature.expectation import Integrand
from ..inputs import Gaussian, InputDistribution, StandardNormal, as_input
from ..low_discrepancy import sobol_sample
from .net import Net

#: Nodes per axis, and the product weight below which a node is left out: 13,448 nodes remain in
#: two dimensions.
DEFAULT_NODES = 600
DEFAULT_PRUNE = 1e-18
#: Sobol points
DEFAULT_POINTS = 2**14
METHODS = ("gauss", "sobol")
_MOST_NODES = 5000


@public
def quadrature_net(
    net: Net,
    target_function: Callable[[Array], Any],
    nodes: int | None = None,
    input: Any = None,
    prune: float = DEFAULT_PRUNE,
    method: str = "gauss",
    rng: int | np.random.Generator = 0,
) -> Net:
    r"""A :class:`Net` of any depth whose loss is the infinite-data loss by a rule: of Gauss and
    Hermite for one or two inputs, on scrambled Sobol points for any number.

    The nodes are the data and their weights the sample weights, so that everything that works for
    finite data works here.

    Parameters
    ----------
    net : Net
        Architecture and regularisation; with squared error. Data in it is not used.
    target_function : callable
        Takes inputs ``(n, D)``, returns targets ``(n,)`` or ``(n, D_out)``.
    nodes : int, optional
        Nodes per axis, 600 by default. The rule is exact for polynomials of degree 2 nodes - 1.
        Of Sobol points the number of all, 16,384 by default; powers of two are best.
    input : None, Gaussian or (with Sobol points) GaussianMixture
        Distribution of the input; None is standard normal.
    prune : float
        Nodes of a Gauss rule of smaller weight are left out.
    method : {"gauss", "sobol"}
    rng : int or numpy.random.Generator
        Scrambles the Sobol points. Two seeds show how large errors are.

    Returns
    -------
    Net
        With ``input``, ``target`` and ``weights`` set.

    Raises
    ------
    InvalidTypeError, ShapeError, InvalidValueError
        If the net has more than two inputs (with a Gauss rule) or another loss, or the target
        function returns something else.

    See Also
    --------
    FunctionTeacher : one hidden layer, any number of inputs.
    Net : a sample in its place.

    Notes
    -----
    Errors on Sobol points of a smooth network of four inputs and two hidden layers fall like
    :math:`N^{-1.3}` from :math:`2^8` to :math:`2^{11}` points and :math:`N^{-0.8}` to
    :math:`2^{14}` (measured; random inputs: :math:`N^{-0.5}`).

    The Gauss rule resolves features wider than the distance of its nodes, about
    :math:`\pi / \sqrt{n}` with :math:`n` nodes per axis: 0.13 standard deviations with 600 nodes.
    Relative errors of the loss against ``NetI`` for one neuron of weight norm r opposite one of
    norm 1, two inputs: erf, tanh, softplus, gelu below 5e-14 for r up to 4; tanh 5e-9 at r = 20
    (its Hessian 8e-7). Kinks are not resolved: relu 6e-6, step 4e-3; gradients and Hessians are
    worse (relu 3e-3 and 0.2 at r = 1), and lack what the kinks contribute: the pointwise second
    derivative of relu is zero. ``tests/test_quadrature_net.py`` measures these numbers. There is no
    error estimate: compare two numbers of nodes, or use ``NetI`` for one hidden layer.

    Examples
    --------
    >>> import numpy as np
    >>> from infflow.networks.finite.net import Net
    >>> student = Net([(1, "identity", False), (1, "identity", False)], input_dim=1)
    >>> net = quadrature_net(student, lambda x: x[:, 0])
    >>> round(net.evaluate(np.array([2.0, 1.0])).value, 12)  # E (2 x - x)^2
    1.0
    """
    if not isinstance(net, Net):
        raise InvalidTypeError(f"net is a {type(net).__name__}; an inf.Net is needed.")
    method = as_choice("method", method, METHODS)
    if net.input_dim > 2 and method == "gauss":
        raise InvalidValueError(
            f"net has {counted(net.input_dim, 'input')}; a Gauss rule is possible for 1 or "
            "2. Use inf.NetI for one hidden layer, method='sobol', or sample data."
        )
    if not net.loss.is_sum_of_squares:
        raise InvalidValueError(f"net has loss {net.loss_name!r}; quadrature_net needs 'mse'.")
    distribution = as_input(input, net.input_dim)
    prune = as_number("prune", prune, minimum=0.0)
    if method == "sobol":
        return _on_sobol_points(net, target_function, nodes, distribution, rng)
    if not isinstance(distribution, (StandardNormal, Gaussian)):
        raise InvalidTypeError(
            "input is a GaussianMixture; quadrature_net needs None or one inf.Gaussian."
        )
    count = as_integer(
        "nodes", DEFAULT_NODES if nodes is None else nodes, minimum=1, maximum=_MOST_NODES
    )
    X, weights = gauss_hermite(net.input_dim, count, prune)
    (component,) = distribution.components()
    if component.root is not None:
        X = X @ component.root.T
    if component.mean is not None:
        X = X + component.mean
    y = _targets(target_function, X, net.output_dim)
    return net.replace(input=np.ascontiguousarray(X), target=y, weights=weights)


def _on_sobol_points(
    net: Net, function: Callable[[Array], Any], nodes: Any, given: InputDistribution, rng: Any
) -> Net:
    """The net on scrambled Sobol points of equal weights."""
    N = as_integer("nodes", DEFAULT_POINTS if nodes is None else nodes, minimum=1)
    X, _ = sobol_sample(given, N, 0, as_rng(rng))
    y = _targets(function, X, net.output_dim)
    return net.replace(input=np.ascontiguousarray(X), target=y, weights=None)


def gauss_hermite(dim: int, nodes: int, prune: float) -> tuple[Array, Array]:
    """Nodes (n, dim) and weights (n,), which add up to one before those below ``prune`` are left
    out.

    The rule is built for the density exp(-x^2/2)/sqrt(2 pi) from the eigenvalues of the Jacobi
    matrix (SciPy, which changes to asymptotic expansions for many nodes).
    """
    from scipy.special import roots_hermitenorm

    x, w = roots_hermitenorm(nodes)
    w = w / w.sum()
    if dim == 1:
        keep = w >= prune
        return x[keep, None], w[keep]
    product = np.outer(w, w)
    i, j = np.nonzero(product >= prune)
    return np.column_stack([x[i], x[j]]), product[i, j]


def _targets(function: Callable[[Array], Any], X: Array, outputs: int) -> Array:
    integrand = Integrand("target_function", function, X.shape[1])
    if integrand.outputs != outputs:
        raise ShapeError(
            f"target_function returned {counted(integrand.outputs, 'output')} and the net has "
            f"{outputs}; they must agree."
        )
    y = integrand(X)
    if not np.isfinite(y).all():
        bad = X[~np.isfinite(y).all(axis=1)][0]
        raise InvalidValueError(
            f"target_function returned an infinite value at x = {bad.tolist()}."
        )
    return y
