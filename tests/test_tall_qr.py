"""The blocked QR factorisation against one of all rows."""

import numpy as np
import pytest

from infflow.fixedpoints import tall_qr
from infflow.fixedpoints.least_squares import GaussNewtonModel
from infflow.fixedpoints.tall_qr import TallQR

SHAPES = [(1, 1), (5, 5), (9, 4), (40, 4), (41, 4), (97, 8), (64, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_factors(shape, monkeypatch):
    monkeypatch.setattr(tall_qr, "_BLOCK", 16)  # many blocks, the last one shorter than a square
    rng = np.random.default_rng(0)
    J = rng.standard_normal(shape) * 10.0 ** rng.integers(-8, 8, shape[1])
    before = J.copy()
    calls = []
    found = TallQR(J, lambda: calls.append(None))
    m, n = shape
    assert (before == J).all() and len(calls) == -(-m // max(2 * n, 16 // n))
    Q = np.column_stack([found.expand(e) for e in np.eye(n)])
    np.testing.assert_allclose(Q.T @ Q, np.eye(n), atol=1e-14)
    np.testing.assert_allclose(
        Q @ found.R / np.abs(J).max(axis=0), J / np.abs(J).max(axis=0), atol=1e-14
    )
    assert (np.tril(found.R, -1) == 0.0).all()
    v = rng.standard_normal(m)
    np.testing.assert_allclose(found.project(v), Q.T @ v, atol=1e-14)


@pytest.mark.parametrize("shape", [(30, 4), (4, 30), (6, 6), (3, 1), (1, 3)])
def test_the_model_of_gauss_and_newton_on_tall_and_wide_jacobians(shape, monkeypatch):
    """Within a large radius its step is the one of least length that lstsq finds."""
    monkeypatch.setattr(tall_qr, "_BLOCK", 16)
    rng = np.random.default_rng(1)
    J = rng.standard_normal(shape)
    r = rng.standard_normal(shape[0])
    model = GaussNewtonModel(r, J, lambda step: r + J @ step)
    trial = model.solve(1e6)
    expected = np.linalg.lstsq(J, -r, rcond=None)[0]
    np.testing.assert_allclose(trial.step, expected, atol=1e-12)
    np.testing.assert_allclose(trial.predicted, r @ r - ((r + J @ expected) ** 2).sum(), rtol=1e-12)
    np.testing.assert_allclose(model.curvatures, 2.0 * (J * J).sum(axis=0), rtol=1e-14)
