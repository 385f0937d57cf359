"""The pieces of the study convergence, against the demo, differences and synthetic runs."""

import numpy as np
import pytest

import infflow as inf
from infflow.studies.finite_vs_infinite import convergence
from infflow.studies.finite_vs_infinite.claims import (
    CaseResult,
    FiniteDataResult,
    Setting,
    _median_slope,
)
from infflow.studies.finite_vs_infinite.runs import (
    Case,
    build,
    predict_spread,
    solve_finite,
    solve_infinite,
)

ERF = Case("erf", "law", (500, 8_000), "erf", 3, 3, 1, teacher_seed=0)
RELU = Case("relu", "kinks", (4_000,), "relu", 5, 4, 2, teacher_seed=3)


def test_cases_are_those_of_the_demo():
    neti, theta0 = build(**Case("figure 4", "law", (1,)).problem)
    known, start = convergence.build(convergence.Setting())
    np.testing.assert_array_equal(theta0, start)
    assert inf.loss(neti, theta0) == inf.loss(known, start)


def test_a_teacher_that_ignores_inputs():
    wide, narrow = (
        build(**Case("", "", (1,), "erf", D, 4, 2, teacher_dim=4, teacher_seed=5).problem)[0]
        for D in (9, 4)
    )
    theta = inf.random_params(narrow.student, rng=0)
    (W, _), (a, _) = narrow.unpack(theta)
    padded = wide.student.pack([(np.pad(W, ((0, 0), (0, 5))), None), (a, None)])
    assert inf.loss(wide, padded) == pytest.approx(inf.loss(narrow, theta), rel=1e-14)


def test_shift_is_right_to_second_order():
    """displacement = -H^+ g + O(1/N): sixteen times the samples, about a quarter of the relative
    error.
    """
    problem = ERF.problem
    errors = []
    for N in ERF.N:
        runs = [solve_finite(N=N, data_seed=k, base=1, **problem) for k in range(10)]
        assert all(run["same_basin"] for run in runs)
        errors.append(
            np.median([run["shift_error"] / np.sqrt(run["squared_distance"]) for run in runs])
        )
    assert 2.0 < errors[0] / errors[1] < 8.0  # medians of ten
    assert errors[1] < 0.1


def test_infinite_solution():
    infinite = solve_infinite(**ERF.problem)
    assert infinite["flat"] == 0 and infinite["gradient_norm"] < 1e-13
    assert "prefactor_without_kinks" not in infinite
    neti, theta0 = build(**ERF.problem)
    known = inf.train(neti, theta0, progress=False)
    assert inf.solution_distance(neti, known.theta, infinite["theta"]) < 1e-9
    law = inf.finite_data_prediction(neti, infinite["theta"], 1, rng=0)
    assert (infinite["prefactor"], infinite["gap"]) == (law.squared_distance, law.loss_gap)


def test_spread():
    """One neuron that learns a linear function of one input: d is Gaussian, N d^2 has the standard
    deviation sqrt(2) times its mean.
    """
    problem = Case("", "law", (1,), "identity", 1, 1, 1, 0.5, teacher_seed=1).problem
    infinite = solve_infinite(**problem)
    spread = predict_spread(**problem)
    assert infinite["flat"] == 1, "the scale of a linear neuron"
    assert spread["distance_spread"] == pytest.approx(
        np.sqrt(2) * infinite["prefactor"], rel=0.03
    )  # C is sampled
    assert spread["gap_spread"] == pytest.approx(np.sqrt(2) * infinite["gap"], rel=0.03)
    assert infinite["gap"] == pytest.approx(
        0.5**2, rel=0.03
    )  # noise^2 per direction with curvature


def test_relu():
    """Two flat directions, one for the scale of each neuron, and a solution on which gradient
    descent agrees.
    """
    infinite = solve_infinite(**RELU.problem)
    assert infinite["flat"] == 2
    assert infinite["prefactor_without_kinks"] > 1.3 * infinite["prefactor"]
    run = solve_finite(N=4_000, data_seed=0, base=0, **RELU.problem)
    assert run["same_basin"]
    assert run["shift_error"] < 0.5 * np.sqrt(run["squared_distance"])


def test_median_slope():
    rng = np.random.default_rng(0)
    errors = {N: N**-0.5 * np.exp(0.2 * rng.standard_normal(20)) for N in (100, 1_000, 10_000)}
    slope, low, high = _median_slope(errors)
    assert low < slope < high and low < -0.5 < high
    assert high - low < 0.2


def synthetic(case, exponent=-1.0, stayed=1.0, prefactor=5.0):
    """A case whose runs follow a power law with a scatter."""
    rng = np.random.default_rng(0)
    infinite = {
        "theta": np.ones(4),
        "flat": 0,
        "loss": 0.1,
        "gradient_norm": 1e-16,
        "seconds": 0.1,
        "prefactor": prefactor,
    }
    infinite |= {
        "prefactor_error": 0.01,
        "gap": 2.0,
        "gap_error": 0.01,
        "smallest": 0.1,
        "largest": 1.0,
    }
    infinite |= {
        "prefactor_without_kinks": 3 * prefactor,
        "distance_spread": 1.0,
        "gap_spread": 0.2,
    }
    runs = []
    for N in case.N:
        for k in range(20):
            d = 5.0 * N**exponent * np.exp(0.2 * rng.standard_normal() - 0.02)
            runs.append(
                {
                    "N": N,
                    "data_seed": k,
                    "squared_distance": d,
                    "predicted_squared": d,
                    "shift_error": np.sqrt(d / N) * np.exp(0.2 * rng.standard_normal()),
                    "loss_gap": 2.0 / N * np.exp(0.1 * rng.standard_normal()),
                    "gradient_norm": 1e-16,
                    "same_basin": k < 20 * stayed,
                    "seconds": 0.1,
                }
            )
    costs = [
        {"finite_seconds": 1e-4 * N, "infinite_seconds": 0.1}
        for N in case.N
        if case.kind != "kinks"
    ]
    return CaseResult(case, infinite, runs, 20, costs)


def claims_of(*results):
    study = FiniteDataResult(Setting(), [], 1.0, list(results))
    return {claim.sentence: claim for claim in study.claims()}, study


LAW = Case("law", "law", (1_000, 10_000, 100_000))
OTHERS = (
    synthetic(Case("relu", "kinks", (1_000, 10_000))),
    synthetic(Case("4 inputs", "dimension", (1_000, 10_000), input_dim=4), prefactor=4.0),
    synthetic(Case("8 inputs", "dimension", (1_000, 10_000), input_dim=8), prefactor=5.0),
)


def held(claims, start):
    (found,) = [
        claim
        for sentence, claim in claims.items()
        if sentence.startswith(start) and "(law)" in sentence
    ]
    return found.held


def test_claims_hold_for_runs_that_follow_the_law():
    claims, _ = claims_of(synthetic(LAW), *OTHERS)
    for start in (
        "The squared distance",
        "The mean squared distance",
        "The mean gap",
        "Run by run",
    ):
        assert held(claims, start)
    assert claims["The cost of a finite-data run increases linearly with N."].held
    (kinks,) = [claim for sentence, claim in claims.items() if "misses the kinks" in sentence]
    assert kinks.held


def test_claims_fail_for_other_runs():
    claims, _ = claims_of(synthetic(LAW, exponent=-0.5), *OTHERS)
    assert not held(claims, "The squared distance") and not held(
        claims, "The mean squared distance"
    )
    claims, _ = claims_of(synthetic(LAW, prefactor=9.0), *OTHERS)
    assert held(claims, "The squared distance") and not held(claims, "The mean squared distance")


def test_no_slope_where_runs_were_lost():
    claims, study = claims_of(synthetic(LAW, stayed=0.7), *OTHERS)
    assert not held(claims, "The squared distance")
    (claim,) = [
        c for s, c in claims.items() if s.startswith("The squared distance") and "(law)" in s
    ]
    assert claim.value is None and "42 of 60 runs stayed" in claim.note
    (refusals,) = [c for s, c in claims.items() if s.startswith("No slope is reported")]
    assert refusals.held and refusals.value["share that stayed"]["law"] == pytest.approx(0.7)
    assert study.numbers()["law"]["slope"] is None
    assert "14/20" in study.table()


def test_the_prediction_of_the_demo_has_no_sampling_error():
    neti, theta0 = convergence.build(convergence.Setting())
    theta = inf.train(neti, theta0, progress=False).theta
    exact = inf.finite_data_prediction(neti, theta, 1)
    sampled = inf.finite_data_prediction(neti, theta, 1, method="sampling")
    assert exact.squared_distance_error == exact.loss_gap_error == 0.0
    for name in ("squared_distance", "loss_gap"):
        error = getattr(sampled, f"{name}_error")
        assert 0.0 < error < 0.03 * getattr(exact, name)
        assert abs(getattr(exact, name) - getattr(sampled, name)) < 4.0 * error
    # the digits of the page; the minimum is known to rounding
    assert exact.squared_distance == pytest.approx(767.4914, rel=1e-6)
