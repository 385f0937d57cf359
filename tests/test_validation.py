import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from infflow._validation import as_integer, as_number, as_real_array, as_rng, is_all_finite
from infflow.errors import InvalidValueError


@pytest.mark.parametrize("size", [1, 2**16, 2**16 + 1, 3 * 2**16 + 5])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_entry_that_is_not_finite_is_found_wherever_it_is(size, bad):
    for position in {0, size // 2, size - 1}:
        array = np.full(size, 1e300)  # the squares of which overflow
        assert is_all_finite(array)
        array[position] = bad
        assert not is_all_finite(array)


def test_shapes_without_and_with_a_single_entry():
    assert (
        is_all_finite(np.empty((0, 3)))
        and is_all_finite(np.array(2.0))
        and not is_all_finite(np.array(np.nan))
    )


def test_the_message_names_the_place():
    with pytest.raises(
        InvalidValueError, match=r"input contains inf at index \(1, 2\) \(1 non-finite"
    ):
        as_real_array("input", [[0.0, 1.0, 2.0], [3.0, 4.0, np.inf]])


def test_checking_large_data_takes_no_memory():
    data = np.ones((1000, 1000))
    tracemalloc.start()
    try:
        assert as_real_array("input", data) is data
        assert (
            tracemalloc.get_traced_memory()[1] < 200_000
        )  # an array of flags would take a million bytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("infinite", [False, True])
def test_numbers_beyond_floating_point_are_refused(infinite):
    for value in (10**400, -(10**400), 10**5000, Fraction(10**400, 3)):
        with pytest.raises(InvalidValueError, match="rtol is beyond the range of floating point"):
            as_number("rtol", value, infinite=infinite)
    assert as_number("rtol", 10**300) == 1e300


def test_integers_of_any_length_are_told_by_their_size():
    with pytest.raises(InvalidValueError, match=r"N is about 10\^5000; it must be at most 7"):
        as_integer("N", 10**5000, maximum=7)  # of which Python prints no digits
    with pytest.raises(InvalidValueError, match=r"N is about -10\^400; it must be at least 1"):
        as_integer("N", -(10**400), minimum=1)
    with pytest.raises(InvalidValueError, match=r"N is -123; it must be at least 1"):
        as_integer("N", -123, minimum=1)
    with pytest.raises(InvalidValueError, match=r"rng is about -10\^5000"):
        as_rng(-(10**5000))


def test_masked_entries_are_refused():
    values = np.array([1.0, 999.0, 3.0])
    masked = np.ma.array(values, mask=[0, 1, 0])
    for given in (masked, [masked, masked], (values, masked), masked.astype(int), np.ma.masked):
        with pytest.raises(InvalidValueError, match="X is a masked array with masked entries"):
            as_real_array("X", given)
    for given in (
        np.ma.array(values),
        np.ma.array(values, mask=False),
        [np.ma.array(values)],
    ):  # nothing is hidden
        np.testing.assert_array_equal(np.ravel(as_real_array("X", given)), values)
