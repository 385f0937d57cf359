"""Kernels are compiled as a whole for Python, and as parts for other kernels."""

import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from numba.core import event

import infflow.compiler as compiler
from infflow.compiler import njit


class Compiled(event.Listener):
    """Names of the functions that numba compiles."""

    def __init__(self):
        self.names = []

    def on_start(self, e):
        self.names.append(e.data["dispatcher"].py_func.__name__)

    def on_end(self, e):
        pass


@njit(error_model="numpy")
def part(x, y=2.0):
    return x * x + y


@njit(error_model="numpy")
def between(x):
    return part(x) + part(x, y=1.0)


@njit(error_model="numpy")
def whole(x):
    total = 0.0
    for i in range(x.size):
        total += between(x[i])
    return total


@njit(error_model="numpy")
def factorial(n):
    return 1 if n <= 1 else n * factorial(n - 1)


@njit(error_model="numpy")
def twice_factorial(n):
    return 2 * factorial(n)


@njit(error_model="numpy")
def scaled(x):
    if x < 0.0:
        raise ValueError("x must not be negative")
    out = np.empty(2)
    out[0] = x
    out[1] = 2.0 * x
    return out


@njit(error_model="numpy")
def sum_of_scaled(x):
    return scaled(x).sum()


@njit(error_model="numpy")
def applied(function, x):
    return function(x)


@njit(error_model="numpy", optimised=True)
def dot(a, b):
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@njit(error_model="numpy")
def norm(a):
    return np.sqrt(dot(a, a))


def test_both_ways_of_calling_give_the_values_of_python():
    x = np.array([1.0, 2.0, 3.0])
    expected = sum(2.0 * t * t + 3.0 for t in x)
    assert whole(x) == expected
    assert between(2.0) == 11.0
    assert part(2.0) == 6.0
    assert part(2.0, y=1.0) == 5.0
    assert norm(np.array([3.0, 4.0])) == 5.0
    assert dot(x, x) == 14.0


def test_a_part_may_call_itself():
    assert twice_factorial(5) == 240
    assert factorial(5) == 120


def test_a_part_allocates_and_raises():
    assert sum_of_scaled(1.0) == 3.0
    with pytest.raises(ValueError, match="must not be negative"):
        sum_of_scaled(-1.0)


def test_kernels_are_arguments_of_kernels_and_of_numbas_own():
    assert applied(between, 2.0) == 11.0

    @numba.njit
    def own(x):
        return between(x) + 1.0

    assert own(2.0) == 12.0


def test_other_types_are_compiled_for_themselves():
    assert part(3, 2) == 11
    assert isinstance(part(3, 2), int)


def test_only_what_python_calls_becomes_machine_code():
    @njit(error_model="numpy")
    def inner(x):
        return x + 1.0

    @njit(error_model="numpy")
    def outer(x):
        return inner(inner(x))

    seen = Compiled()
    event.register("numba:compile", seen)
    try:
        assert outer(1.0) == 3.0
        assert seen.names == ["outer", "inner"]  # the part is typed once for both calls
        assert not inner.signatures
        assert inner(1.0) == 2.0
        assert seen.names == ["outer", "inner", "inner"]
        assert inner.signatures
    finally:
        event.unregister("numba:compile", seen)


SCRIPT = """
import sys
from numba.core import event
from infflow.compiler import njit

@njit(cache=True)
def inner(x):
    return x + 1.0

@njit(cache=True)
def outer(x):
    return inner(x) * 2.0

names = []
class Compiled(event.Listener):
    def on_start(self, e):
        names.append(e.data["dispatcher"].py_func.__name__)
    def on_end(self, e):
        pass
event.register("numba:compile", Compiled())
assert outer(1.0) == 4.0
print(*names)
"""


def run(path, **environment):
    done = subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return done.stdout.split()


def test_a_second_process_loads_the_whole_and_needs_no_part(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    cache = str(tmp_path / "cache")
    assert run(script, NUMBA_CACHE_DIR=cache) == ["outer", "inner"]
    assert run(script, NUMBA_CACHE_DIR=cache) == []
    kept = {path.name.split(".")[1].split("-")[0] for path in (tmp_path / "cache").rglob("*.nb?")}
    assert kept == {"outer"}


def test_functions_are_python_where_numba_is_switched_off(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    assert run(script, NUMBA_DISABLE_JIT="1") == []


def test_numbas_own_njit_stands_in_where_its_insides_have_changed(monkeypatch):
    monkeypatch.setattr(compiler, "_HAS_PARTS", False)

    @njit(error_model="numpy", optimised=True)
    def inner(x):
        return x + 1.0

    assert not isinstance(inner, compiler._Kernel)
    assert inner(1.0) == 2.0


def test_this_numba_has_what_parts_need():
    assert compiler._HAS_PARTS
    assert isinstance(part, compiler._Kernel)
