"""Slow readable twins of :class:`.net.Net`'s derivatives: the chain rule, one sample at a time.

Every quantity carries its value, its gradient and its Hessian with respect to all parameters.
Nothing here shares code with the fast paths except the activations; the twins of losses are their
methods ``readable``. Tests compare both to 1e-12; use it to check a network by hand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..._validation import Array
from ..regularization import Merge
from .net import Net


class Taylor(NamedTuple):
    """Values ``(w,)`` with derivatives ``(w, P)`` and ``(w, P, P)`` with respect to theta."""

    value: Array
    first: Array
    second: Array


def layer(net: Net, index: int, theta: Array, z: Taylor) -> Taylor:
    """``s(factor W z + b)`` of one layer."""
    spec = net.layers[index]
    factor = net.weight_factors[index]
    W, b = net.unpack(theta)[index]
    if net.unit_rows is not None and index < len(net.layers) - 1:
        return _activated(net, index, _unit_rows(net, index, theta, z))
    value = factor * W @ z.value + (0.0 if b is None else b)
    first = factor * W @ z.first
    second = factor * np.einsum("ik,kab->iab", W, z.second)
    position = sum(k.width * (k.fan_in + k.bias) for k in net.layout.blocks[:index])
    for i in range(spec.width):
        for k in range(
            W.shape[1]
        ):  # d h_i / d W_ik = factor z_k, which depends on the layers below
            first[i, position] += factor * z.value[k]
            second[i, position, :] += factor * z.first[k]
            second[i, :, position] += factor * z.first[k]
            position += 1
    if b is not None:
        first[np.arange(spec.width), position + np.arange(spec.width)] += 1.0
    return _activated(net, index, Taylor(value, first, second))


def _unit_rows(net: Net, index: int, theta: Array, z: Taylor) -> Taylor:
    """``W z / |w| + b`` of one layer, row by row, by the rules for products and quotients."""
    W, b = net.unpack(theta)[index]
    numbers, biases = net.unpack(np.arange(net.num_params, dtype=float))[index]
    P = net.num_params
    rows = []
    for i, (w, places) in enumerate(zip(W, numbers.astype(int), strict=True)):
        n = float(np.sqrt(w @ w))
        n1 = np.zeros(P)
        n1[places] = w / n
        n2 = np.zeros((P, P))
        n2[np.ix_(places, places)] = (np.eye(len(w)) - np.outer(w, w) / n**2) / n
        s1 = w @ z.first
        s1[places] += z.value
        s2 = np.einsum("k,kab->ab", w, z.second)
        s2[places, :] += z.first
        s2[:, places] += z.first.T
        s = float(w @ z.value)
        h1 = s1 / n - s * n1 / n**2
        h2 = s2 / n - (np.outer(s1, n1) + np.outer(n1, s1)) / n**2
        h2 = h2 - s * n2 / n**2 + 2.0 * s * np.outer(n1, n1) / n**3
        if b is not None and biases is not None:
            h1[int(biases[i])] += 1.0
        rows.append(Taylor(np.array(s / n + (0.0 if b is None else b[i])), h1, h2))
    return Taylor(*(np.array(part) for part in zip(*rows, strict=True)))


def _activated(net: Net, index: int, h: Taylor) -> Taylor:
    """``s(h)`` of one layer."""
    value, first, second = h
    spec = net.layers[index]
    f, f1, f2 = (
        np.array([s.derivative(x, order) for s, x in zip(spec.activations, value, strict=True)])
        for order in range(3)
    )
    outer = np.einsum("ia,ib->iab", first, first)
    return Taylor(f, f1[:, None] * first, f2[:, None, None] * outer + f1[:, None, None] * second)


def outputs(net: Net, theta: Array, x: Array) -> Taylor:
    """Outputs of the net for one input ``x`` ``(D,)``."""
    P = net.num_params
    z = Taylor(x, np.zeros((len(x), P)), np.zeros((len(x), P, P)))
    for index in range(len(net.layers)):
        z = layer(net, index, theta, z)
    return z


def sample_loss(net: Net, theta: Array, x: Array, target: Array) -> tuple[float, Array, Array]:
    """Loss of one sample with gradient and Hessian, without regularisation."""
    z = outputs(net, theta, x)
    value, slope, curvature = net.loss.readable(z.value, target)
    hessian = z.first.T @ curvature @ z.first + np.einsum("i,iab->ab", slope, z.second)
    return value, slope @ z.first, hessian


def derivatives(net: Net, theta: Array) -> tuple[float, Array, Array]:
    """Loss, gradient ``(P,)`` and Hessian ``(P, P)`` of a net with data, regularisation
    included.
    """
    data = net.data
    c = net.regularization.maxnorm
    ridge = net.regularization.ridge
    num = len(data.X)
    P = net.num_params
    weights = np.full(num, 1.0 / num) if data.weights is None else data.weights
    value: float = 0.0
    gradient = np.zeros(P)
    hessian = np.zeros((P, P))
    for w, x, target in zip(weights, data.X, data.target, strict=True):
        one = sample_loss(net, theta, x, target)
        value = value + w * one[0]
        gradient = gradient + w * one[1]
        hessian = hessian + w * one[2]
    r = float(theta @ theta) / 2.0
    value = value + ridge * r
    gradient = gradient + ridge * theta
    hessian = hessian + ridge * np.eye(P)
    if r > c:
        value = value + (r - c) ** 2
        gradient = gradient + 2.0 * (r - c) * theta
        hessian = hessian + 2.0 * (r - c) * np.eye(P) + 2.0 * np.outer(theta, theta)
    for pair in net.regularization.merge:
        one = merging(net, theta, pair)
        value = value + one[0]
        gradient = gradient + one[1]
        hessian = hessian + one[2]
    return float(value), gradient, hessian


def merging(net: Net, theta: Array, pair: Merge) -> tuple[float, Array, Array]:
    """Value, gradient and Hessian of ``lambda/2 |w_i - w_j|^2``, w with the bias, entry
    by entry.
    """
    value = 0.0
    gradient = np.zeros(net.num_params)
    hessian = np.zeros((net.num_params, net.num_params))
    numbers = net.unpack(np.arange(net.num_params, dtype=float))
    W, b = numbers[pair.layer - 1]
    i, j = pair.pair
    entries = list(zip(W[i], W[j], strict=True))
    if b is not None:
        entries.append((b[i], b[j]))
    for first, second in ((int(k), int(l)) for k, l in entries):
        gap = theta[first] - theta[second]
        value += 0.5 * pair.strength * gap**2
        for place, sign in ((first, 1.0), (second, -1.0)):
            gradient[place] += sign * pair.strength * gap
            hessian[place, first] += sign * pair.strength
            hessian[place, second] -= sign * pair.strength
    return float(value), gradient, hessian


def covariance(net: Net, theta: Array) -> Array:
    """Covariance ``(P, P)`` of the gradients of single samples, weighted as the loss is."""
    data = net.data
    weights = np.full(len(data.X), 1.0 / len(data.X)) if data.weights is None else data.weights
    rows = np.array(
        [sample_loss(net, theta, x, y)[1] for x, y in zip(data.X, data.target, strict=True)]
    )
    centred = rows - weights @ rows
    return np.einsum("n,na,nb->ab", weights, centred, centred)
