"""Small objectives with known derivatives, for the tests of the solvers."""

from __future__ import annotations

import numpy as np

from infflow.objective import Evaluation


class Function:
    """An objective from three functions of x."""

    def __init__(self, num_params, value, gradient, hessian):
        self.num_params = num_params
        self.value = value
        self.gradient = gradient
        self.hessian = hessian

    def evaluate(self, theta, order=0):
        gradient = np.asarray(self.gradient(theta), dtype=float) if order >= 1 else None
        hessian = np.asarray(self.hessian(theta), dtype=float) if order >= 2 else None
        return Evaluation(float(self.value(theta)), gradient, hessian)

    def hvp(self, theta, v):
        return self.evaluate(theta, 2).hessian @ v


class Squares(Function):
    """A function that is also known as a sum of squares."""

    def __init__(self, num_params, value, gradient, hessian, residuals, jacobian):
        super().__init__(num_params, value, gradient, hessian)
        self._residuals = residuals
        self._jacobian = jacobian

    def residuals(self, theta):
        return np.asarray(self._residuals(theta), dtype=float)

    def jacobian(self, theta):
        return np.asarray(self._jacobian(theta), dtype=float)


def rosenbrock():
    return Squares(
        2,
        lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2,
        lambda x: [-2 * (1 - x[0]) - 400 * x[0] * (x[1] - x[0] ** 2), 200 * (x[1] - x[0] ** 2)],
        lambda x: [[2 - 400 * x[1] + 1200 * x[0] ** 2, -400 * x[0]], [-400 * x[0], 200]],
        lambda x: [1 - x[0], 10 * (x[1] - x[0] ** 2)],
        lambda x: [[-1, 0], [-20 * x[0], 10]],
    )


def quartic(n=2):
    """sum_i x_i^4/4: a degenerate minimum."""
    return Function(n, lambda x: (x**4).sum() / 4, lambda x: x**3, lambda x: np.diag(3 * x**2))


class Quadratic:
    """theta' H theta / 2 with given eigenvalues and random eigenvectors."""

    def __init__(self, eigenvalues, seed=0):
        n = len(eigenvalues)
        self.num_params = n
        self.eigenvalues = np.asarray(eigenvalues, dtype=float)
        self.basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]
        hessian = (self.basis * self.eigenvalues) @ self.basis.T
        self.matrix = (hessian + hessian.T) / 2

    def evaluate(self, theta, order=0):
        gradient = self.matrix @ theta
        return Evaluation(
            float(theta @ gradient) / 2,
            gradient if order >= 1 else None,
            self.matrix.copy() if order >= 2 else None,
        )

    def hvp(self, theta, v):
        return self.matrix @ v

    def residuals(self, theta):
        return np.sqrt(self.eigenvalues / 2) * (self.basis.T @ theta)

    def jacobian(self, theta):
        return np.sqrt(self.eigenvalues / 2)[:, None] * self.basis.T

    def flow(self, theta, t):
        """The exact solution at time t."""
        return (self.basis * np.exp(-self.eigenvalues * t)) @ (self.basis.T @ theta)


class TanhNetwork:
    """Mean squared error of a network with K tanh neurons on the labels of one with M neurons."""

    def __init__(self, K=3, M=3, N=60, seed=0):
        rng = np.random.default_rng(seed)
        self.K = K
        self.num_params = 4 * K + 1
        self.X = rng.normal(size=(N, 2))
        self.y = (
            np.tanh(self.X @ rng.normal(size=(2, M)) + rng.normal(size=M)) @ rng.normal(size=M)
            + 0.3
        )
        self.start = 0.5 * np.random.default_rng(seed + 1000).normal(size=self.num_params)

    def evaluate(self, theta, order=0):
        K, N = self.K, len(self.y)
        W = theta[: 2 * K].reshape(K, 2)
        b = theta[2 * K : 3 * K]
        a = theta[3 * K : 4 * K]
        c = theta[4 * K]
        T = np.tanh(self.X @ W.T + b)
        residual = T @ a + c - self.y
        value = float(np.mean(residual**2))
        if order == 0:
            return Evaluation(value)
        D = 1 - T**2
        J = np.hstack(
            [
                ((D * a)[:, :, None] * self.X[:, None, :]).reshape(N, 2 * K),
                D * a,
                T,
                np.ones((N, 1)),
            ]
        )
        weighted = 2 / N * residual
        if order == 1:
            return Evaluation(value, weighted @ J)
        hessian = 2 / N * J.T @ J
        inputs = np.c_[self.X, np.ones(N)]
        for k in range(K):
            rows = np.array([2 * k, 2 * k + 1, 2 * K + k])
            hessian[np.ix_(rows, rows)] += (
                inputs * (weighted * -2 * T[:, k] * D[:, k] * a[k])[:, None]
            ).T @ inputs
            mixed = (weighted * D[:, k]) @ inputs
            hessian[rows, 3 * K + k] += mixed
            hessian[3 * K + k, rows] += mixed
        return Evaluation(value, weighted @ J, hessian)

    def hvp(self, theta, v):
        return self.evaluate(theta, 2).hessian @ v


class Wrapped:
    """Another objective that calls ``hook(count, theta)`` before every evaluation."""

    def __init__(self, objective, hook):
        self.objective = objective
        self.hook = hook
        self.count = 0
        self.num_params = objective.num_params
        if not hasattr(objective, "residuals"):
            self.residuals = None

    def evaluate(self, theta, order=0):
        self.count += 1
        self.hook(self.count, theta)
        return self.objective.evaluate(theta, order)

    def hvp(self, theta, v):
        return self.objective.hvp(theta, v)

    def residuals(self, theta):
        self.count += 1
        self.hook(self.count, theta)
        return self.objective.residuals(theta)

    def jacobian(self, theta):
        return self.objective.jacobian(theta)


def raise_at(count, error):
    """A hook that raises once, at the given evaluation."""

    def hook(now, theta):
        if now == count:
            raise error

    return hook
