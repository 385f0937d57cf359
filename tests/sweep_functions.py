"""Functions for tests of sweeps: module level, so that other processes find them."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

import infflow as inf


def network(width, activation="erf"):
    student, teacher = (
        inf.Net([(n, activation, False), (1, "identity", False)], input_dim=3) for n in (width, 2)
    )
    theta = teacher.pack([(np.eye(2, 3), None), (np.array([[1.0, -0.7]]), None)])
    return inf.NetI(student, inf.Teacher(teacher, theta))


def train_one(seed, width):
    net = network(width)
    return inf.train(
        net,
        inf.random_params(net, seed),
        progress=False,
        max_time_flow=np.inf,
        max_time_newton=np.inf,
    )


def train_briefly(seed, width):
    net = network(width)
    limits = {
        "max_steps_flow": 40,
        "max_steps_newton": 3,
        "max_time_flow": np.inf,
        "max_time_newton": np.inf,
    }
    return inf.train(net, inf.random_params(net, seed), progress=False, **limits)


def draw(seed, scale=1.0, wait=0.0):
    """Quick, with all kinds of results."""
    time.sleep(wait)
    values = scale * np.random.default_rng(seed).normal(size=(2, 3))
    return {
        "mean": values.mean(),
        "count": np.int64(values.size),
        "name": f"seed {seed}",
        "positive": bool(values[0, 0] > 0),
        "nothing": None,
        "values": values,
        "signs": np.sign(values).astype(np.int8),
    }


def log_call(path, seed, fail_below=0):
    """Writes down that it was called, and fails while the file ``path.broken`` exists."""
    with open(path, "a") as file:
        file.write(f"{seed}\n")
    if seed < fail_below and Path(f"{path}.broken").exists():
        raise ValueError(f"seed {seed} is too small")
    return {"square": seed**2}


def echo(**settings):
    return {"text": repr(settings)}


def leave(seed, how):
    """Ends the process as some libraries do, for one seed."""
    if seed == 1:
        if how == "exit":
            sys.exit(3)
        if how == "argparse":
            argparse.ArgumentParser().parse_args(["--no-such-option"])
        raise GeneratorExit("a BaseException that is no Exception")
    return {"seed_again": seed}


def return_it(value, what):
    results = {
        "number": 3,
        "list": {"x": [1, 2]},
        "object": {"x": np.array([None, 1], dtype=object)},
        "complex": {"x": 1j},
        "reserved": {"status": 1},
        "clash": {"value": 2},
        "slash": {"a/b": np.zeros(2)},
    }
    return results[what]


def interrupted(seed):
    """As train after Ctrl-C: the function swallows it and returns something."""
    if seed == 2:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        except KeyboardInterrupt:
            pass
    return {"seed_squared": seed**2}


def interrupted_training(seed):
    net = network(1)

    def press(now):
        if seed == 1 and now.step == 3:
            raise KeyboardInterrupt

    return inf.train(net, inf.random_params(net, seed), progress=False, callback=press)


def die_once(folder, seed):
    """The worker of seed 3 is killed when it runs it for the first time."""
    flag = Path(folder) / "died"
    time.sleep(0.05)
    if seed == 3 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"pid": os.getpid(), "values": np.random.default_rng(seed).normal(size=4)}


def die_always(seed):
    time.sleep(0.05)
    if seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"square": seed**2}


def note_pid(folder, seed):
    """Slow enough to be killed while it runs."""
    (Path(folder) / f"{seed}.pid").write_text(str(os.getpid()))
    time.sleep(0.3)
    return {"values": np.random.default_rng(seed).normal(size=4)}


def matrix(seed, n):
    """Large enough that BLAS would use several threads, whose number changes the last bits."""
    a = np.random.default_rng(seed).normal(size=(n, n))
    return {"product": a @ a.T, "trace": np.linalg.eigvalsh(a + a.T)[0]}


def train_or_multiply(seed, width=None, n=None):
    return train_one(seed, width) if n is None else matrix(seed, n)
