"""The coefficients of the one-step methods.

A new method is one entry here and one line in the registry of ``methods.py``.
"""

from __future__ import annotations

import math

import numpy as np

from .._validation import Array
from .tableaus import (
    ExplicitTableau,
    ImplicitTableau,
    RosenbrockTableau,
    hermite_dense,
    least_dense,
    step_doubled,
)


def _lower(rows: list[list[float]]) -> Array:
    matrix = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        matrix[i, : len(row)] = row
    return matrix


def _classical_rk4() -> ExplicitTableau:
    """Kutta 1901, with the cubic Hermite interpolant."""
    a = _lower([[], [1 / 2], [0, 1 / 2], [0, 0, 1], [1 / 6, 1 / 3, 1 / 3, 1 / 6]])
    return ExplicitTableau("rk4", a, None, 4, 4, hermite_dense(a), 3)


def _tsit5() -> ExplicitTableau:
    """Ch. Tsitouras, Computers and Mathematics with Applications 62 (2011) 770-775, with its free
    interpolant.
    """
    a = _lower(
        [
            [],
            [0.161],
            [-0.008480655492356989, 0.335480655492357],
            [2.8971530571054935, -6.359448489975075, 4.3622954328695815],
            [5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525],
            [
                5.86145544294642,
                -12.92096931784711,
                8.159367898576159,
                -0.071584973281401,
                -0.028269050394068383,
            ],
            [
                0.09646076681806523,
                0.01,
                0.4798896504144996,
                1.379008574103742,
                -3.290069515436081,
                2.324710524099774,
            ],
        ]
    )
    e = [
        -0.00178001105222577714,
        -0.0008164344596567469,
        0.007880878010261995,
        -0.1447110071732629,
        0.5823571654525552,
        -0.45808210592918697,
        1 / 66,
    ]
    dense = [
        [1.0, -2.763706197274826, 2.9132554618219126, -1.0530884977290216],
        [0.0, 0.1317, -0.2234, 0.1017],
        [0.0, 3.9302962368947516, -5.941033872131505, 2.490627285651253],
        [0.0, -12.411077166933676, 30.33818863028232, -16.548102889244902],
        [0.0, 37.50931341651104, -88.1789048947664, 47.37952196281928],
        [0.0, -27.896526289197286, 65.09189467479366, -34.87065786149661],
        [0.0, 1.5, -4.0, 2.5],
    ]
    return ExplicitTableau("tsit5", a, np.array(e), 5, 4, np.array(dense), 4)


def _dopri5() -> ExplicitTableau:
    """Dormand and Prince, J. Comp. Appl. Math. 6 (1980) 19-26; dense output of Shampine (Hairer,
    Norsett, Wanner I, II.6).
    """
    a = _lower(
        [
            [],
            [1 / 5],
            [3 / 40, 9 / 40],
            [44 / 45, -56 / 15, 32 / 9],
            [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
            [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
            [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
        ]
    )
    e = np.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])
    d = np.array(
        [
            -12715105075 / 11282082432,
            0,
            87487479700 / 32700410799,
            -10690763975 / 1880347072,
            701980252875 / 199316789632,
            -1453857185 / 822651844,
            69997945 / 29380423,
        ]
    )
    # the cubic Hermite interpolant plus theta^2 (1 - theta)^2 d
    dense = np.pad(hermite_dense(a), ((0, 0), (0, 1))) + np.outer(d, [0.0, 1.0, -2.0, 1.0])
    return ExplicitTableau("dopri5", a, e, 5, 4, dense, 4)


def _trbdf2() -> ImplicitTableau:
    """Bank et al., IEEE Trans. CAD 4 (1985) 436; error estimate of Hosea and Shampine, Appl. Num.
    Math. 20 (1996) 21.
    """
    d = 1 - math.sqrt(0.5)
    w = math.sqrt(2) / 4
    a = np.array([[0, 0, 0], [d, d, 0], [w, w, d]])
    third_order = np.array([(1 - w) / 3, (3 * w + 1) / 3, d / 3])
    return ImplicitTableau("trbdf2", a, a[-1] - third_order, 2, 3, hermite_dense(a), 2)


def _kencarp58() -> ImplicitTableau:
    """The implicit part of ARK5(4)8L[2]SA2: Kennedy and Carpenter, Appl. Num. Math. 136 (2019)
    183-205.
    """
    g = 2 / 9
    second = [
        2366667076620 / 8822750406821,
        -257962897183 / 4451812247028,
        -486229321650 / 11227943450093,
        621307788657 / 4714163060173,
        2036305566805 / 6583108094622,
    ]
    b = [
        3517720773327 / 20256071687669,
        4569610470461 / 17934693873752,
        2819471173109 / 11655438449929,
        3296210113763 / 10722700128969,
        -1142099968913 / 5710983926999,
    ]
    a = _lower(
        [
            [],
            [g, g],
            [second[0], second[0], g],
            [second[1], second[1], 128530224461 / 14379561246022, g],
            [second[2], second[2], -225633144460 / 6633558740617, 1741320951451 / 6824444397158, g],
            [
                *(second[3], second[3], -125196015625 / 3866852212004),
                *(940440206406 / 7593089888465, 961109811699 / 6734810228204, g),
            ],
            [
                *(
                    second[4],
                    second[4],
                    -3039402635899 / 4450598839912,
                    -1829510709469 / 31102090912115,
                ),
                *(-286320471013 / 6931253422520, 8651533662697 / 9642993110008, g),
            ],
            [0, 0, *b, g],
        ]
    )
    embedded = [
        0,
        0,
        520639020421 / 8300446712847,
        4550235134915 / 17827758688493,
        1482366381361 / 6201654941325,
        5551607622171 / 13911031047899,
        -5266607656330 / 36788968843917,
        1074053359553 / 5740751784926,
    ]
    return ImplicitTableau("kencarp58", a, a[-1] - np.array(embedded), 5, 4, least_dense(a, 4), 4)


def _rodas3() -> RosenbrockTableau:
    """A. Sandu et al., Atmospheric Environment 31 (1997) 3459-3472: L-stable, stiffly accurate,
    simple fractions.

    Its first two stages share their argument. The dense output is the quadratic without third-order
    stages.
    """
    a = _lower([[], [0.0], [2.0, 0.0], [2.0, 0.0, 1.0]])
    c = _lower([[], [4.0], [1.0, -1.0], [1.0, -1.0, -8 / 3]])
    m = np.array([2.0, 0.0, 1.0, 1.0])
    e = np.eye(4)[3]
    dense = np.array([[3.0, -1.0, 0.0, 0.0]])
    return RosenbrockTableau("rodas3", 0.5, a, c, m, e, 3, 2, dense, 2)


def _rodas5p() -> RosenbrockTableau:
    """G. Steinebach, Construction of Rosenbrock-Wanner method Rodas5P, BIT Numerical Mathematics
    63:27 (2023).

    Stiffly accurate and L-stable; the numbers are those of the form without products, as tabulated
    with 16 digits in OrdinaryDiffEq.jl.
    """
    a5 = [2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641]
    a6 = [
        -7.502846399306121,
        2.561846144803919,
        -11.627539656261098,
        -0.18268767659942256,
        0.030198172008377946,
    ]
    a = _lower(
        [
            [],
            [3.0],
            [2.849394379747939, 0.45842242204463923],
            [-6.954028509809101, 2.489845061869568, -10.358996098473584],
            a5,
            a6,
            [*a6, 1.0],
            [*a6, 1.0, 1.0],
        ]
    )
    c = _lower(
        [
            [],
            [-14.155112264123755],
            [-17.97296035885952, -2.859693295451294],
            [147.12150275711716, -1.41221402718213, 71.68940251302358],
            [165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306],
            [
                24.854864614690072,
                -3.0009227002832186,
                47.4931110020768,
                5.5814197821558125,
                -0.6610691825249471,
            ],
            [
                30.91273214028599,
                -3.1208243349937974,
                77.79954646070892,
                34.28646028294783,
                -19.097331116725623,
                -28.087943162872662,
            ],
            [
                37.80277123390563,
                -3.2571969029072276,
                112.26918849496327,
                66.9347231244047,
                -40.06618937091002,
                -54.66780262877968,
                -9.48861652309627,
            ],
        ]
    )
    dense = [
        [
            25.948786856663858,
            -2.5579724845846235,
            10.433815404888879,
            -2.3679251022685204,
            0.524948541321073,
            1.1241088310450404,
            0.4272876194431874,
            -0.17202221070155493,
        ],
        [
            -9.91568850695171,
            -0.9689944594115154,
            3.0438037242978453,
            -24.495224566215796,
            20.176138334709044,
            15.98066361424651,
            -6.789040303419874,
            -6.710236069923372,
        ],
        [
            11.419903575922262,
            2.8879645146136994,
            72.92137995996029,
            80.12511834622643,
            -52.072871366152654,
            -59.78993625266729,
            -0.15582684282751913,
            4.883087185713722,
        ],
    ]
    m = np.array([*a6, 1.0, 1.0, 1.0])
    e = np.eye(8)[7]
    return RosenbrockTableau("rodas5p", 0.21193756319429014, a, c, m, e, 5, 4, np.array(dense), 4)


RK4 = _classical_rk4()
RK4_DOUBLED = step_doubled("rk4 with step doubling", RK4)
TSIT5 = _tsit5()
DOPRI5 = _dopri5()
TRBDF2 = _trbdf2()
KENCARP58 = _kencarp58()
RODAS3 = _rodas3()
RODAS5P = _rodas5p()
