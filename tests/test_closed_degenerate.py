"""Closed forms where neurons are nearly or exactly parallel, or constant."""

import itertools
import json
from functools import cache
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
import sympy

from infflow.activations import polynomial, resolve
from infflow.integrals import jets
from infflow.integrals.closed import pairs as closed
from infflow.integrals.closed import symbolic

NAMES = [
    "identity",
    "relu",
    "leaky_relu",
    "abs",
    "step",
    "sign",
    "erf",
    "normal_cdf",
    "gelu",
    "gaussian",
    "square",
    "cube",
]
TABLE = closed.AtomTable([resolve(n) for n in NAMES] + [polynomial([1.0])])
NAMES = [*NAMES, "constant"]
RAMP_HESSIANS = json.loads(
    (Path(__file__).parent / "data" / "ramp_hessian_references.json").read_text()
)


def jet(f, g, C11, C12, C22, b1=0.0, b2=0.0, det=0.0, order=2):
    args = [np.array([float(v)]) for v in (C11, C12, C22, b1, b2, det)]
    values = closed.pair_jets(
        TABLE, np.array([NAMES.index(f)]), np.array([NAMES.index(g)]), np.array(args), order
    )[0]
    return dict(zip(jets.COLUMNS, values, strict=False))


def moment(f, g, p, q, C11, C12, C22, b1=0.0, b2=0.0, det=0.0):
    args = [np.array([float(v)]) for v in (C11, C12, C22, b1, b2, det)]
    return closed.pair_moments(
        TABLE, np.array([NAMES.index(f)]), np.array([NAMES.index(g)]), np.array(args), p, q
    )[0]


def assembled_hessian(f, g, r, a, s, b1, b2):
    """6 x 6 Hessian in (w1, b1, w2, b2) at w1 = (r, 0), w2 = (a, s), by the formulas in
    ``jets.py``.
    """
    j = jet(f, g, r * r, r * a, a * a + s * s, b1, b2, (r * s) ** 2)
    w1 = np.array([r, 0.0])
    w2 = np.array([a, s])
    perp1 = np.array([0.0, s])
    perp2 = np.array([s * s, -a * s]) * r / (a * a + s * s)
    outer = np.outer
    one = np.eye(2)

    def symmetric(x, y):
        return outer(x, y) + outer(y, x)

    H = np.zeros((6, 6))
    H[:2, :2] = (
        j["J20"] * one
        + j["F40"] * outer(w1, w1)
        + j["F31"] * symmetric(w1, perp1)
        + j["F22"] * outer(perp1, perp1)
    )
    H[3:5, 3:5] = (
        j["J02"] * one
        + j["F04"] * outer(w2, w2)
        + j["F13"] * symmetric(w2, perp2)
        + j["F22"] * outer(perp2, perp2)
    )
    H[:2, 3:5] = (
        j["J11"] * one + j["F11"] * outer(w1, w2) + j["F31"] * outer(w1, perp2)
        + j["F13"] * outer(perp1, w2) + j["F22"] * outer(perp1, perp2)
    )  # fmt: skip
    H[:2, 2] = j["M30"] * w1 + j["M21"] * w2
    H[:2, 5] = j["M21b"] * w1 + j["M12"] * w2
    H[3:5, 5] = j["M03"] * w2 + j["M12"] * w1
    H[2, 3:5] = j["M12b"] * w2 + j["M21"] * w1
    H[2, 2] = j["B20"]
    H[2, 5] = j["B11"]
    H[5, 5] = j["B02"]
    return np.triu(H) + np.triu(H, 1).T


@pytest.mark.parametrize("case", RAMP_HESSIANS, ids=lambda c: f"{c['a']}-{c['s']}-{c['b1']}")
def test_nearly_parallel_ramps_against_references(case):
    expected = np.array([[float(v) for v in row] for row in case["hessian"]])
    H = assembled_hessian("relu", "relu", 1.0, case["a"], case["s"], case["b1"], case["b2"])
    np.testing.assert_allclose(H, expected, rtol=0, atol=1e-14)


# ---------------------------------------------------------------- stability against the same
# moments with 60 digits


@cache
def high_precision_moment(m, n):
    return sympy.lambdify(sympy.symbols(symbolic.PRIMITIVES), symbolic.moment(m, n), "mpmath")


def high_precision_hessian(k1, k2, t1, t2, r, a, s, b1, b2):
    """Like ``assembled_hessian`` for two atoms, by plain moments in 60 digits. For k1 + k2 >= 1, or
    no biases.
    """
    with mp.workdps(60):
        r, a, s, b1, b2 = (mp.mpf(v) for v in (r, a, s, b1, b2))
        C12 = r * a
        V1 = r * r + t1**2
        V2 = a * a + s * s + t2**2
        det = (r * s) ** 2 + t1**2 * (a * a + s * s) + t2**2 * r * r + (t1 * t2) ** 2
        values = {"C12": C12, "L": mp.mpf("0.25") + mp.atan2(C12, mp.sqrt(det)) / (2 * mp.pi)}
        for i, b, V, other_b in (("1", b1, V1, b2), ("2", b2, V2, b1)):
            g, v = C12 / V, det / V
            m = other_b - g * b
            d = mp.npdf(b / mp.sqrt(V)) / mp.sqrt(V)
            q = mp.npdf(m / mp.sqrt(v)) / mp.sqrt(v)
            own = {
                "b": b,
                "V": V,
                "i": 1 / V,
                "g": g,
                "e": -g,
                "m": m,
                "s": v,
                "r": 1 / v,
                "d": d,
                "P": mp.ncdf(m / mp.sqrt(v)),
                "q": q,
            }
            values |= {name + i: x for name, x in own.items()}
        arguments = [values[name] for name in symbolic.PRIMITIVES.split()]

        def moment_(p, q):
            return high_precision_moment(k1 + p, k2 + q)(*arguments)

        w = [mp.matrix([r, 0]), mp.matrix([a, s])]

        def block(i, j):
            orders = {0: (2, 0), 1: (1, 1), 2: (0, 2)}[i + j]
            total = moment_(*orders) * mp.eye(2)
            for x, y in itertools.product(range(2), repeat=2):
                extra = [orders[0], orders[1]]
                extra[x] += 1
                extra[y] += 1
                total += moment_(*extra) * w[x] * w[y].T
            return total

        H = np.zeros((4, 4))
        for i, j in itertools.product(range(2), repeat=2):
            H[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = np.array(block(i, j).tolist(), dtype=float)
        return H


KERNELS = {"relu": (0, 0), "step": (1, 0), "normal_cdf": (1, 1)}  # one atom each: order, width


@pytest.mark.parametrize(
    ("f", "g", "size", "bias"),
    [
        ("relu", "relu", 1.0, 0.0),
        ("relu", "step", 1.0, 0.0),
        ("step", "relu", 1.0, 0.0),
        ("relu", "normal_cdf", 1.0, 0.5),
        ("normal_cdf", "relu", 100.0, 0.5),
        ("normal_cdf", "normal_cdf", 1.0, 0.5),
        ("normal_cdf", "normal_cdf", 100.0, -3.0),
    ],
)
@pytest.mark.parametrize("s", [1.0, 1e-3, 1e-6, 1e-10])
@pytest.mark.parametrize("a", [1.0, -0.625])
def test_nearly_parallel_stability(f, g, size, bias, s, a):
    weights = (size, size * a, size * s, bias, bias * a)
    H = assembled_hessian(f, g, *weights)[np.ix_([0, 1, 3, 4], [0, 1, 3, 4])]
    expected = high_precision_hessian(
        KERNELS[f][0], KERNELS[g][0], KERNELS[f][1], KERNELS[g][1], *weights
    )
    np.testing.assert_allclose(H, expected, rtol=0, atol=2e-15 * np.abs(expected).max())


# ---------------------------------------------------------------- exactly degenerate


@pytest.mark.parametrize("a", [1.0, 0.5, -1.0, -2.0])
@pytest.mark.parametrize("b", [0.0, 0.75, -0.75])
@pytest.mark.parametrize(
    ("f", "g"), [("relu", "relu"), ("leaky_relu", "abs"), ("abs", "identity"), ("relu", "square")]
)
def test_parallel_ramps_are_the_limit(f, g, a, b):
    at = jet(f, g, 1.0, a, a * a, b, a * b)
    near = jet(f, g, 1.0, a, a * a, b, a * b, det=1e-28)
    for name in jets.COLUMNS:
        if name != "F22":  # multiplies a a' = 0
            assert at[name] == pytest.approx(near[name], rel=0, abs=1e-13), name
    assert np.isfinite(list(at.values())).all()


def test_parallel_ramps_value_and_rules():
    at = jet("relu", "relu", 1.0, -1.0, 1.0)  # relu(x) relu(-x) = 0
    assert at["J00"] == at["J11"] == 0.0
    at = jet("relu", "relu", 1.0, 2.0, 4.0)
    assert at["J00"] == pytest.approx(1.0, rel=1e-15)  # 2 E relu(x)^2
    assert at["J11"] == 0.5
    assert at["F22"] == 0.0
    assert at["F11"] == at["F31"] * 0.5 + at["F13"] * 2.0


def test_parallel_ramp_and_step():
    at = jet("relu", "step", 1.0, 1.0, 1.0)  # without biases the Hessian in the weights exists
    near = jet("relu", "step", 1.0, 1.0, 1.0, det=1e-26)
    for name in ("J00", "J20", "J11", "J02", "J10", "J01", "F40", "F31", "F13", "F04", "F11"):
        assert at[name] == pytest.approx(near[name], rel=1e-12, abs=1e-12), name
    assert at["J20"] == pytest.approx(0.5 / np.sqrt(2 * np.pi), rel=1e-15)
    third = ("M30", "M21", "M12", "M03", "M21b", "M12b")
    assert all(at[name] == np.inf for name in third)
    biased = jet("relu", "step", 1.0, 1.0, 1.0, 0.3, 0.3)
    assert all(biased[name] == np.inf for name in (*third, "F31", "F13", "F11"))
    assert np.isfinite(
        [
            biased[name]
            for name in ("J20", "J11", "J02", "J10", "J01", "B20", "B11", "B02", "F40", "F04")
        ]
    ).all()
    apart = jet(
        "relu", "step", 1.0, 1.0, 1.0, 0.3, 0.2
    )  # the kinks do not coincide: everything is finite
    assert np.isfinite(list(apart.values())).all()
    assert apart["J11"] == pytest.approx(
        np.exp(-0.02) / np.sqrt(2 * np.pi), rel=1e-14
    )  # E delta(x + 0.2)


def test_parallel_steps():
    at = jet("step", "step", 1.0, 1.0, 1.0, 0.3, 0.3)
    assert at["J00"] == pytest.approx(float(mp.ncdf(0.3)), rel=1e-15)
    assert np.isfinite([at[name] for name in jets.COLUMNS[:6]]).all()
    assert all(at[name] == np.inf for name in jets.COLUMNS[6:])
    assert (
        jet("step", "step", 1.0, 1.0, 1.0, 0.3, 0.3 * (1 + 2**-52))["B11"] == np.inf
    )  # rounding of a bias
    sign = jet("sign", "sign", 1.0, -3.0, 9.0)
    assert sign["J00"] == -1.0


def test_constant_neuron_on_its_kink():
    at = jet("relu", "erf", 0.0, 0.0, 1.5, 0.0, 0.4)
    mean = float(mp.erf(mp.mpf("0.4") / mp.sqrt(5)))  # E erf((sqrt(1.5) x + 0.4)/sqrt 2)
    assert at["J00"] == at["J20"] == at["J01"] == at["J02"] == 0.0
    assert at["J10"] == pytest.approx(0.5 * mean, rel=1e-14)
    density = 2 * float(mp.npdf(0.4 / mp.sqrt(2.5)) / mp.sqrt(2.5))
    assert at["J11"] == pytest.approx(0.5 * density, rel=1e-14)
    infinite = {"B20", "M30", "M21", "M21b", "F40", "F31", "F22", "F11"}
    assert {name for name, v in at.items() if v == np.inf} == infinite
    constant = jet("constant", "relu", 0.0, 0.0, 0.0)
    assert {name for name, v in constant.items() if v == np.inf} == {"B02", "F04"}
    assert np.isfinite(
        list(jet("erf", "relu", 0.0, 0.0, 1.0, 0.0, 0.3).values())
    ).all()  # no kink, no singularity


@pytest.mark.parametrize(("f", "g"), list(itertools.product(NAMES, repeat=2)))
def test_constant_neuron_off_its_kink_is_the_limit(f, g):
    at = jet(f, g, 0.0, 0.0, 1.3, -0.7, 0.2)
    near = jet(f, g, 1e-26, 0.5e-13 * np.sqrt(1.3), 1.3, -0.7, 0.2, det=0.75 * 1.3e-26)
    assert np.isfinite(list(at.values())).all()
    plain = [
        name for name in jets.COLUMNS if name not in ("F40", "F31", "F11", "F13")
    ]  # c1 = C12/C11 has no limit
    for name in plain:
        assert at[name] == pytest.approx(near[name], rel=0, abs=1e-11), name


@pytest.mark.parametrize(("f", "g"), list(itertools.combinations_with_replacement(NAMES, 2)))
def test_student_at_distance_1e_12_of_its_teacher(f, g):
    w = np.array([0.6, -1.1, 0.4])
    d = 1e-12 * np.array([0.3, 0.2, 0.93])
    v = w + d
    perp = d - (d @ w) / (w @ w) * w
    det = (w @ w) * (perp @ perp)
    near = jet(f, g, w @ w, w @ v, v @ v, 0.3, 0.3 + 1e-12, det, order=1)
    at = jet(f, g, w @ w, w @ w, w @ w, 0.3, 0.3, 0.0, order=1)
    smooth = {f, g}.isdisjoint({"step", "sign"}) or not {f, g} <= {
        "step",
        "sign",
        "relu",
        "leaky_relu",
        "abs",
    }
    # derivatives of Phi up to order 2 are of order one (100 for the cube); of two steps the
    # gradient is infinite
    for name in jets.COLUMNS[:6] if smooth else ["J00"]:
        assert at[name] == pytest.approx(near[name], rel=0, abs=3e-10), name


@pytest.mark.parametrize(("f", "g"), list(itertools.product(NAMES, repeat=2)))
def test_never_nan(f, g):
    values = [0.0, 1e-320, 1e-200, 1e-12, 1.0, 1e12]
    for r1, r2, u, b1, b2 in itertools.product(
        values, values, [-1.0, 0.0, 1.0], [0.0, 0.3], [0.0, -2.0]
    ):
        for det in {0.0, (1 - abs(u)) * (r1 * r2) ** 2}:
            out = list(jet(f, g, r1 * r1, u * r1 * r2, r2 * r2, b1, b2, det).values())
            assert not np.isnan(out).any(), (r1, r2, u, b1, b2, det)
            assert np.isfinite(out[:6]).all()


def test_plain_moments_are_infinite_where_they_should_be():
    parallel = (1.0, 1.0, 1.0)
    assert moment("relu", "relu", 2, 2, *parallel) == np.inf
    assert moment("relu", "relu", 3, 1, *parallel) == np.inf
    assert moment("relu", "relu", 1, 1, *parallel) == 0.5
    assert moment("relu", "relu", 2, 2, *parallel, 0.0, 1.0) == 0.0  # kinks apart
    assert moment("step", "relu", 1, 2, *parallel) == np.inf
    assert moment("step", "step", 1, 1, *parallel) == np.inf
    assert moment("relu", "identity", 2, 0, 0.0, 0.0, 1.0, 0.0, 1.0) == np.inf
    assert moment("relu", "identity", 2, 0, 0.0, 0.0, 1.0, 0.0, 0.0) == 0.0
    assert moment("step", "square", 1, 0, 0.0, 0.0, 1.0) == np.inf
    single = closed.single_moments(
        TABLE, np.array([NAMES.index("relu")]), np.zeros(1), np.zeros(1), 4
    )[0]
    np.testing.assert_array_equal(single, [0.0, 0.5, np.inf, 0.0, np.inf])
