"""Proofs in the inputs that weights span, against proofs in all of them."""

import numpy as np
import pytest

import infflow as inf

pytest.importorskip("flint")

from infflow.proofs import certify, span
from infflow.proofs.ball import flint, working_precision

WHERE = "proved in the span of the teacher's rows"


def plain(f, K, M, D, seed=0, scale=1.0):
    generator = np.random.default_rng(seed)
    t = inf.Net([(M, f, False), (1, "identity", False)], input_dim=D)
    s = inf.Net([(K, f, False), (1, "identity", False)], input_dim=D)
    V, W = (scale * generator.normal(size=(k, D)) / np.sqrt(D) for k in (M, K))
    teacher = inf.Teacher(t, t.pack([(V, None), (np.ones((1, M)), None)]))
    return inf.NetI(s, teacher), s.pack([(W, None), (np.ones((1, K)), None)])


def both(monkeypatch, *arguments, **settings):
    """The certificate in the span, and that in all parameters."""
    monkeypatch.setattr(span, "_WHOLE", 0)
    few = inf.certify(*arguments, **settings)
    monkeypatch.setattr(certify, "short_problem", lambda *_: None)
    whole = inf.certify(*arguments, **settings)
    monkeypatch.undo()
    assert any(line.startswith(WHERE) for line in few.assumptions)
    assert not any(line.startswith(WHERE) for line in whole.assumptions)
    return few, whole


@pytest.mark.parametrize(("f", "K", "M"), [("erf", 2, 4), ("erf", 3, 3), ("relu", 2, 4)])
def test_the_same_is_proved_as_in_all_parameters(f, K, M, monkeypatch):
    neti, theta = plain(f, K, M, 20)
    found = inf.train(neti, theta)
    few, whole = both(monkeypatch, neti, found)
    assert few.proved and whole.proved
    assert (few.index, few.positive) == (whole.index, whole.positive)
    assert few.gauge == whole.gauge and few.frozen == whole.frozen
    assert few.loss.lower <= whole.loss.upper and whole.loss.lower <= few.loss.upper
    assert few.radius < 1e-11 and whole.radius < 1e-11
    assert few.uniqueness_radius > few.radius
    np.testing.assert_array_equal(few.theta, found.theta)


@pytest.mark.parametrize("D", [1000, 10_000])
def test_many_inputs(D):
    neti, theta = plain("erf", 4, 5, D)
    found = inf.train(neti, theta)
    proof = inf.certify(neti, found)
    assert proof.is_minimum and proof.positive == neti.num_params
    assert proof.loss.lower <= found.loss * (1 + 1e-12) and found.loss <= proof.loss.upper * (
        1 + 1e-12
    )
    assert f"9 of {D:,}" in str(proof)


def saddle(D):
    """A student |w.x| on three quadratic teachers, and a quadratic student at zero."""
    t = inf.Net([(3, "square", False), (1, "identity", False)], input_dim=D)
    s = inf.Net([(2, ["abs", "square"], False), (1, "identity", False)], input_dim=D)
    E = np.linalg.qr(np.random.default_rng(0).normal(size=(D, 3)))[0].T
    V = np.sqrt([4.0, 3.0, 2.0])[:, None] * E
    neti = inf.NetI(s, inf.Teacher(t, t.pack([(V, None), (np.ones((1, 3)), None)])))
    start = s.pack([(np.vstack([E[0], np.zeros(D)]), None), (np.ones((1, 2)), None)])
    frozen = np.arange(len(start)) >= 2 * D
    eta = np.where(np.arange(len(start)) < D, 1.0, 0.0)  # the first student alone
    return neti, inf.train(neti, start, eta=eta).theta, frozen


def test_the_index_counts_all_inputs(monkeypatch):
    neti, theta, frozen = saddle(20)
    few, whole = both(monkeypatch, neti, theta, frozen=frozen)
    assert few.proved and few.index == whole.index and few.positive == whole.positive
    values = np.linalg.eigvalsh(inf.hessian(neti, theta)[:40, :40])
    assert few.index == (values < 0).sum() > 17
    neti, theta, frozen = saddle(2000)
    proof = inf.certify(neti, theta, frozen=frozen)
    assert proof.proved and proof.index == few.index + 1980
    assert inf.classify(neti, theta, frozen=frozen).index == proof.index


def test_students_outside_of_the_span_of_the_teacher_enlarge_it(monkeypatch):
    neti, theta = plain("erf", 2, 3, 20)
    found = inf.train(neti, theta).theta
    found[:20] += 3e-8 * np.random.default_rng(1).normal(size=20)
    few, whole = both(monkeypatch, neti, found)
    assert few.proved and "the teacher's rows and 1 of the students'" in str(few)
    assert 1e-8 < few.radius < 1e-6 and few.index == whole.index == 0


def test_points_off_the_critical_point_are_not_proved(monkeypatch):
    neti, theta = plain("erf", 2, 3, 20)
    few, whole = both(monkeypatch, neti, theta)
    assert not few.proved and not whole.proved


def test_what_has_no_exact_basis_is_proved_in_all_parameters(monkeypatch):
    monkeypatch.setattr(span, "_WHOLE", 0)
    neti, theta = plain("erf", 2, 2, 12)
    free = np.arange(len(theta))
    assert span.short_problem(neti, theta, free) is not None
    assert span.short_problem(neti, theta, free[1:]) is None  # a frozen weight
    net = neti.teacher.net
    V = net.unpack(neti.teacher.theta)[0][0]
    twice = inf.Teacher(net, net.pack([(np.vstack([V[0], V[0]]), None), (np.ones((1, 2)), None)]))
    assert span.short_problem(neti.replace(teacher=twice), theta, free) is None
    coloured = neti.replace(input=inf.Gaussian(np.zeros(12), 2.0))
    assert span.short_problem(coloured, theta, free) is None


def test_cholesky_encloses_the_factor():
    rows = np.random.default_rng(0).normal(size=(4, 2500))
    rows[3] = rows[2] + 1e-5 * rows[3]  # nearly dependent
    with working_precision(128):
        G = span._gram(rows)
        L = span._cholesky(G)
        difference = (L * L.transpose() - G).tolist()
        assert all(x.contains(0) for row in difference for x in row)
        assert all(float(x.rad()) < 1e-25 for row in L.tolist() for x in row)
        assert float(G[0, 1]) == pytest.approx(rows[0] @ rows[1], rel=1e-12)
        assert flint().arb(0).contains(L[0, 1])


def test_other_losses_are_refused():
    neti, theta = plain("erf", 2, 2, 12)
    with pytest.raises(inf.InfflowError, match="squared"):
        inf.certify(neti.replace(loss="correlation"), theta)
