"""Samples of the input, and threads: numbers that no machine can serve are refused."""

import numpy as np
import pytest

import infflow as inf
from infflow.errors import InvalidTypeError, InvalidValueError, TooLargeError


@pytest.mark.parametrize(
    "source",
    [
        None,
        inf.Gaussian([0.0, 1.0], np.eye(2)),
        inf.GaussianMixture([0.5, 0.5], np.eye(2), [np.eye(2)] * 2),
    ],
)
def test_numbers_of_samples(source):
    net = inf.Net([(2, "relu", True), (1, "identity", True)], input_dim=2)
    neti = inf.NetI(net, inf.Teacher(net, np.ones(9)), input=source)
    for N, error, message in (
        (10**400, InvalidValueError, r"N is about 10\^400; it must be at most"),
        (2**62, InvalidValueError, "N is 4611686018427387904; it must be at most"),
        (10**15, TooLargeError, "10{15} samples of 2 inputs take 14901161.2 GiB"),
        (-1, InvalidValueError, "N is -1"),
        (2.5, InvalidTypeError, "N is 2.5; an integer is needed"),
    ):
        for sample in (neti.sample, neti.input.sample):
            with pytest.raises(error, match=message):
                sample(N, 0)
    with pytest.raises(InvalidValueError, match=r"samples is about 10\^400; it must be at most"):
        inf.gradient_covariance(neti, np.ones(9), samples=10**400)
    assert neti.input.sample(0, 0).shape == (0, 2) and neti.input.sample(np.int64(3), 0).shape == (
        3,
        2,
    )


@pytest.mark.parametrize("number", [10**400, 2**31, 5000, 0], ids=["10^400", "2^31", "5000", "0"])
def test_numbers_of_threads(number):
    net = inf.Net([(2, "relu", True), (1, "identity", True)], input=np.eye(2), target=np.ones(2))
    with pytest.raises(InvalidValueError, match=r"n is .*; it must be at"):
        inf.set_num_threads(number)
    assert inf.loss(net, np.ones(9)) == 16.0
    try:
        inf.set_num_threads(4096)
        assert inf.loss(net, np.ones(9)) == 16.0
    finally:
        inf.set_num_threads(None)
