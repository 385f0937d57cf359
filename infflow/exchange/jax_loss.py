"""The exact loss as a function that JAX differentiates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._validation import package, public
from ..errors import MethodError, ShapeError
from .derivatives import Derivatives

#: Up to this many parameters second derivatives come from the Hessian, which ``jax.vmap`` can use
#: for many directions; above from products, which it can not.
DENSE = 2000


@public
def jax_loss(net: Any, teacher: bool = False) -> Callable[..., Any]:
    """The loss as a function of ``theta`` that JAX traces and differentiates twice.

    Values, gradients and Hessian-vector products come from infflow by callbacks to the host, with
    rules for ``jax.jit``, ``jax.grad``, ``jax.hessian``, ``jax.jvp`` of a gradient and
    ``jax.vmap``.

    Parameters
    ----------
    net : Net or NetI
        A net with data, or an infinite-data net.
    teacher : bool
        Whether the function takes the parameters of the teacher as a second argument.

    Returns
    -------
    function
        ``loss(theta)``, or ``loss(theta, theta_teacher)``; arrays (P,) and (P_teacher,) of JAX. The
        result has the type of ``theta``: call ``jax.config.update("jax_enable_x64", True)`` first
        to keep float64.

    Raises
    ------
    MissingPackageError
        Without JAX.
    InvalidTypeError
        If the net has no data, or no teacher with parameters where these are wanted.

    Notes
    -----
    Third derivatives raise MethodError. Above 2000 parameters second derivatives are products with
    the Hessian, one at a time: ``jax.hessian`` and ``jax.vmap`` of them are not available.

    See Also
    --------
    torch_loss : the same for PyTorch.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=1)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 1.0]))
    >>> loss = inf.jax_loss(neti)  # doctest: +SKIP
    >>> jax.grad(loss)(jax.numpy.array([0.5, 1.0]))  # doctest: +SKIP
    """
    jax = package("jax", "inf.jax_loss", "'infflow[jax]'")
    found = Derivatives(net, teacher)
    loss = _differentiable(jax, found)
    if not found.has_teacher:
        return loss

    def joint(theta: Any, theta_teacher: Any) -> Any:
        return loss(jax.numpy.concatenate([theta, theta_teacher]))

    return joint


def _differentiable(jax: Any, found: Derivatives) -> Callable[[Any], Any]:
    """The loss, whose rule calls the gradient, whose rule calls the product."""

    def ask(function: Any, shape: tuple[int, ...], theta: Any, *more: Any, method: str) -> Any:
        kind = jax.ShapeDtypeStruct(shape, theta.dtype)
        numbers = lambda *given: function(*given).astype(theta.dtype)  # noqa: E731
        return jax.pure_callback(numbers, kind, theta, *more, vmap_method=method)

    def hessian_times(theta: Any, v: Any) -> Any:
        return ask(found.product, theta.shape, theta, v, method="expand_dims")

    @jax.custom_jvp
    def hessian(theta: Any) -> Any:
        return ask(found.hessian, theta.shape * 2, theta, method="sequential")

    @hessian.defjvp
    def _hessian_rule(primals: Any, tangents: Any) -> Any:
        raise MethodError("inf.jax_loss can be differentiated twice, not three times.")

    def product(theta: Any, v: Any) -> Any:
        """Linear in v, as JAX sees it, which transposes and batches it."""
        if found.num_params <= DENSE:
            return hessian(theta) @ v
        # The Hessian is symmetric, so products with it are their own transposes.
        return jax.custom_derivatives.linear_call(hessian_times, hessian_times, theta, v)

    @jax.custom_jvp
    def gradient(theta: Any) -> Any:
        return ask(found.gradient, theta.shape, theta, method="sequential")

    @gradient.defjvp
    def _gradient_rule(primals: Any, tangents: Any) -> Any:
        return gradient(*primals), product(primals[0], tangents[0])

    @jax.custom_jvp
    def loss(theta: Any) -> Any:
        theta = jax.numpy.asarray(theta)
        if theta.shape != (found.num_params,):
            raise ShapeError(f"theta has shape {theta.shape}; ({found.num_params},) is needed.")
        return ask(found.value, (), theta, method="sequential")

    @loss.defjvp
    def _loss_rule(primals: Any, tangents: Any) -> Any:
        return loss(*primals), gradient(primals[0]) @ tangents[0]

    return loss
