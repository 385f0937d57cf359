import re
from pathlib import Path

import pytest
import sympy

from infflow.integrals.closed import _generated, symbolic


def test_generated_module_is_current():
    source = Path(_generated.__file__).read_text(encoding="utf-8")
    written_with = re.search(r"with sympy (\S+);", source).group(1)
    if written_with != sympy.__version__:
        pytest.skip(f"_generated.py was written with sympy {written_with}: run `make derive`")
    assert symbolic.generate() == source


def test_identities_hold():
    results = symbolic.check()
    assert len(results) >= 10
    assert all(results.values()), results


def test_a_wrong_identity_is_noticed():
    ramp = symbolic.moment(0, 0)
    assert not symbolic._vanishes(
        symbolic._total_derivative(ramp, symbolic.C12) - symbolic.moment(1, 0)
    )
    assert not symbolic._vanishes(
        symbolic._total_derivative(ramp, symbolic.V1) - symbolic.moment(2, 0)
    )


@pytest.mark.parametrize("base", symbolic.BASES)
def test_fourth_order_is_plain_without_a_frame(base):
    # e1 = c1 - g1 with c1 = 0 makes D1 the derivative in b1
    k1, k2 = base
    s40, s31 = symbolic.stages(k1, k2)[2][4:6]
    assert symbolic.explicit(s40.subs(symbolic.e1, -symbolic.g1)) == symbolic.moment(k1 + 4, k2)
    assert symbolic.explicit(s31.subs(symbolic.e1, -symbolic.g1)) == symbolic.moment(k1 + 3, k2 + 1)
