"""The exact loss as a function that PyTorch differentiates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._validation import package, public
from ..errors import ShapeError
from .derivatives import Derivatives


@public
def torch_loss(net: Any, teacher: bool = False) -> Callable[..., Any]:
    """The loss as a function of ``theta`` that PyTorch differentiates, twice.

    ``loss(theta).backward()``, ``torch.autograd.grad(..., create_graph=True)`` and
    ``torch.autograd.functional.hessian`` work. Values, gradients and Hessian-vector products come
    from infflow. Third derivatives are differences of products, with errors of about 1e-8.

    Parameters
    ----------
    net : Net or NetI
        A net with data, or an infinite-data net.
    teacher : bool
        Whether the function takes the parameters of the teacher as a second argument.

    Returns
    -------
    function
        ``loss(theta)``, or ``loss(theta, theta_teacher)``; tensors (P,) and (P_teacher,) on the
        CPU. The result has the type of ``theta``.

    Raises
    ------
    MissingPackageError
        Without PyTorch.
    InvalidTypeError
        If the net has no data, or no teacher with parameters where these are wanted.

    See Also
    --------
    jax_loss : the same for JAX.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=1)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 1.0]))
    >>> loss = inf.torch_loss(neti)  # doctest: +SKIP
    >>> loss(torch.tensor([0.5, 1.0], requires_grad=True)).backward()  # doctest: +SKIP
    """
    torch = package("torch", "inf.torch_loss", "'infflow[torch]'")
    found = Derivatives(net, teacher)
    apply = _function(torch, found)

    def loss(theta: Any) -> Any:
        theta = torch.as_tensor(theta)
        if tuple(theta.shape) != (found.num_params,):
            raise ShapeError(
                f"theta has shape {tuple(theta.shape)}; ({found.num_params},) is needed."
            )
        return apply(theta)

    def joint(theta: Any, theta_teacher: Any) -> Any:
        parts = [torch.as_tensor(theta), torch.as_tensor(theta_teacher)]
        return loss(torch.cat(parts))

    return joint if found.has_teacher else loss


def _function(torch: Any, found: Derivatives) -> Callable[[Any], Any]:
    """The loss, whose backward pass calls the gradient, whose backward pass calls the product."""

    def tensor(like: Any, values: Any) -> Any:
        return torch.as_tensor(values, dtype=like.dtype, device=like.device)

    def numbers(theta: Any) -> Any:
        return theta.detach().cpu().double().numpy()

    class Product(torch.autograd.Function):  # type: ignore[misc, name-defined, unused-ignore]
        @staticmethod
        def forward(context: Any, theta: Any, v: Any) -> Any:
            context.save_for_backward(theta, v)
            return tensor(theta, found.product(numbers(theta), numbers(v)))

        @staticmethod
        @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
        def backward(context: Any, slope: Any) -> Any:
            theta, v = context.saved_tensors
            # PyTorch asks for the slope in theta also where nobody uses it, as in functional.hvp.
            moved = None
            if context.needs_input_grad[0]:
                moved = tensor(theta, found.third(numbers(theta), numbers(v), numbers(slope)))
            return moved, tensor(theta, found.product(numbers(theta), numbers(slope)))

    class Gradient(torch.autograd.Function):  # type: ignore[misc, name-defined, unused-ignore]
        @staticmethod
        def forward(context: Any, theta: Any) -> Any:
            context.save_for_backward(theta)
            return tensor(theta, found.gradient(numbers(theta)))

        @staticmethod
        def backward(context: Any, slope: Any) -> Any:
            (theta,) = context.saved_tensors
            return Product.apply(theta, slope)

    class Loss(torch.autograd.Function):  # type: ignore[misc, name-defined, unused-ignore]
        @staticmethod
        def forward(context: Any, theta: Any) -> Any:
            context.save_for_backward(theta)
            return tensor(theta, found.value(numbers(theta)))

        @staticmethod
        def backward(context: Any, slope: Any) -> Any:
            (theta,) = context.saved_tensors
            return slope * Gradient.apply(theta)

    apply: Callable[[Any], Any] = Loss.apply
    return apply
