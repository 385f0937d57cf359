"""Networks that infinite data cannot take, refused with what is needed."""

from __future__ import annotations

from ...activations import Activation
from ...errors import InvalidValueError
from ..finite.net import Net


def check_shallow(name: str, net: Net) -> None:
    """One hidden layer, identity output, squared error."""
    if len(net.layers) != 2 or not all(_is_identity(f) for f in net.layers[-1].activations):
        shape = " -> ".join(f"{layer.width} {layer.activations[0].name}" for layer in net.layers)
        raise InvalidValueError(
            f"{name} has the layers {shape}; infinite data needs exactly one hidden layer and an "
            "identity output layer. Use inf.Net with sampled data for other networks."
        )
    if not net.loss.is_sum_of_squares:
        raise InvalidValueError(f"{name} has loss {net.loss_name!r}; infinite data needs 'mse'.")


def _is_identity(f: Activation) -> bool:
    return f.polynomial == (0.0, 1.0) and not f.atoms and not f.waves  # whatever its name is
