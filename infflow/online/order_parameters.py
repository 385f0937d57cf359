"""Order parameters of online learning: ``inf.OrderParameters``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from .._validation import (
    Array,
    as_choice,
    as_flag,
    as_integer,
    as_number,
    as_real_array,
    as_rng,
    counted,
    public,
)
from ..compile_time import running_time
from ..errors import InvalidTypeError, InvalidValueError, ShapeError, SingularMomentError
from ..integrals.fourth.rows import closed_form_applies, jumps
from ..networks.finite.net import Net
from ..networks.infinite.neti import NetI
from ..networks.inputs import Gaussian, sample_size
from ..networks.teacher import Teacher
from ..threads import limit_for
from . import record
from .equations import Equations, OrderState, Rates
from .fixed_point import OnlineFixedPoint, find_fixed_point
from .fourth_moments import (
    ClosedFourthMoments,
    FourthMoments,
    SampledFourthMoments,
)
from .integration import SOLVERS, OnlineStop, Settings, integrate
from .simulation import simulate

METHODS = ("auto", "closed", "sampling")

# A covariance may miss semidefiniteness by this fraction of its trace.
_ROUNDING = 1e-10
#: what solvers can resolve; smaller tolerances count as this
_ROUNDING_OF_STEPS = 2.5e-14
#: most points that are kept, and the shortest run
_MOST_POINTS = 10**6
_SHORTEST = 1e-300


class Lifted(NamedTuple):
    """Weights with given order parameters: a network in D dimensions and the parameters of its
    student.
    """

    neti: NetI
    theta: Array


@dataclass(eq=False)
class OnlineResult:
    """Order parameters along online learning, from the equations or from a simulation.

    Attributes
    ----------
    t : (T,) array
        Steps over input dimension (the alpha of Saad and Solla).
    Q, R, v : (T, K, K), (T, K, M), (T, O, K) arrays
        Overlaps of the students, of students with teachers, and the second layer.
    T : (M, M) array
        Overlaps of the teachers, constant.
    generalization_error : (T,) array
        E |student - teacher|^2 without label noise and without a factor 1/2; at least its rounding
        error.
    status : OnlineStop
        Why it ended; ``status.message`` is a sentence, ``note`` has details.
    steps, evaluations, jacobians : int
        Of the solver; for a simulation the number of samples, 0 and 0.
    wall_time : float
        Seconds, without those that numba compiled.
    fourth_moments : str
        "closed", "sampling", or "none" (simulations; fixed first layer).
    sampling_error : float
        Standard error of dQ/dt from the sampled fourth moments, largest entry over the kept points;
        0 for closed forms. Where ``max_time`` is used up, over the last of them only.
    settings : dict
        Rates, label noise and ridge of the equations; what you add is saved with it, if JSON can
        hold it.
    """

    t: Array
    Q: Array
    R: Array
    v: Array
    T: Array
    generalization_error: Array
    status: OnlineStop
    note: str
    steps: int
    evaluations: int
    jacobians: int
    wall_time: float
    fourth_moments: str
    sampling_error: float
    settings: dict[str, Any] = field(default_factory=dict)

    def state(self, index: int = -1) -> OrderState:
        """Q, R and v at one of the kept points, the last by default."""
        return OrderState(self.Q[index], self.R[index], self.v[index])

    def __len__(self) -> int:
        return len(self.t)

    def save(self, path: Any) -> None:
        """Write everything to one ``.npz`` file, atomically and without pickles.

        Parameters
        ----------
        path : str or path-like
            File name; ``.npz`` is added where there is no suffix. An existing file is replaced.

        Examples
        --------
        >>> import os, tempfile
        >>> import infflow as inf
        >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
        >>> dynamics = inf.OrderParameters(inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0])), 0.1)
        >>> result = dynamics.solve([0.5, 0.5, 1.0], t_end=1.0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result.save(os.path.join(folder, "run.npz"))
        ...     again = type(result).load(os.path.join(folder, "run.npz"))
        >>> bool((again.Q == result.Q).all())
        True
        """
        record.save(self, path)

    @classmethod
    def load(cls, path: Any) -> OnlineResult:
        """Read a file that :meth:`save` wrote; everything is read and checked at once.

        Raises
        ------
        StorageError
            If the file is missing, damaged, or something else; the message names it.
        """
        return cls(**record.load(path))

    def to_xarray(self) -> Any:
        """Everything as an ``xarray.Dataset``.

        Returns
        -------
        xarray.Dataset
            Variables ``Q`` (t, student, student_2), ``R`` (t, student, teacher), ``v`` (t, output,
            student), ``T`` (teacher, teacher_2) and ``generalization_error`` (t); attributes:
            status, note, counts, version, and the settings as JSON.

        Raises
        ------
        MissingPackageError
            Without xarray.
        """
        return record.to_dataset(self)

    def plot(self, ax: Any = None) -> Any:
        """Draw overlaps and generalization error against time, all axes linear, on which plateaus
        show.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Made if not given.

        Returns
        -------
        matplotlib.axes.Axes
            ``result.plot().figure.savefig(name)`` writes a file.
        """
        from ..plotting import plot_order_parameters

        return plot_order_parameters(self, ax=ax)

    def __repr__(self) -> str:
        if not len(self):
            return f"OnlineResult: no points. {self.status.message}"
        text = (
            f"OnlineResult: {counted(len(self), 'point')}, t = {self.t[0]:g} to {self.t[-1]:g}, "
            "generalization error "
            f"{self.generalization_error[-1]:.6g}\n  {self.status.message} "
            f"{counted(self.steps, 'step')}, "
            f"{self.wall_time:.3g} s, fourth moments: {self.fourth_moments}"
        )
        return text + (f"\n  {self.note}" if self.note else "")


class OrderParameters:
    r"""Dynamics of Q, R and the second layer for online gradient descent in the limit of large
    input dimension.

    Every step draws one fresh input x ~ N(0, 1_D) and its label and moves the parameters by

        W <- W - (learning_rate / D) d/dW |y(x) - label|^2,
        v <- v - (second_layer_rate / D) d/dv |y(x) - label|^2.

    As D grows at constant t = steps / D, Q = W W', R = W V' and v follow ordinary differential
    equations. Those of Q contain a term of order learning_rate^2, which is the noise of single
    samples.

    Parameters
    ----------
    neti : NetI
        Student, teacher and label noise; standard normal input, no biases, standard parametrization
        of the student, ridge if wanted, no maxnorm or merge. Its input dimension only matters for
        the overlaps of the teacher.
    learning_rate : float
        Rate of the first layer, >= 0, in the formula above. 0 keeps it fixed.
    second_layer_rate : float, optional
        Rate of the second layer, by default the same. 0 is the soft committee machine: only the
        first layer learns.
    half_loss : bool
        Rates refer to half of the squared error, the convention of Saad and Solla (1995) and Goldt
        et al. (2019): pass their eta, and eta_v. The time t is the same in both;
        ``OrderParameters(neti, eta, half_loss=True)`` and ``OrderParameters(neti, eta / 2)`` are
        equal.
    fourth_moments : {"auto", "closed", "sampling"}
        How the term of order learning_rate^2 is evaluated. "auto" takes closed forms where there
        are (identity, polynomials, relu, leaky_relu, abs, erf, normal_cdf, gelu), else evenly
        spread points.
    samples : int
        Number of points for "sampling"; 64 times a power of two is taken, the nearest.
    rng : int or numpy.random.Generator
        For "sampling": one seed gives one smooth system of equations.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an argument cannot be used, or the network is outside of what the equations cover.
    SingularMomentError
        If a student jumps (step, sign): the variance of its gradients is infinite.
    MethodError
        If closed forms are asked for where there are none.

    Notes
    -----
    Goldt et al. write pre-activations w.x/sqrt(D); their w is sqrt(D) times the one here. Then
    their rates eta/sqrt(D) of the first and eta_v/D of the second layer are both 1/D here: plain
    gradient descent with one step size.

    In the limit of small rates it is the gradient flow of ``neti``:
    ``inf.train(neti, theta, eta=...)`` at the flow time ``learning_rate * t``.
    """

    @public
    def __init__(
        self,
        neti: NetI,
        learning_rate: float,
        second_layer_rate: float | None = None,
        *,
        half_loss: bool = False,
        fourth_moments: str = "auto",
        samples: int = 100_000,
        rng: Any = 0,
    ) -> None:
        self._teacher = _check_network(neti)
        half_loss = as_flag("half_loss", half_loss)
        first = as_number("learning_rate", learning_rate, minimum=0.0)
        second = (
            first
            if second_layer_rate is None
            else as_number("second_layer_rate", second_layer_rate, minimum=0.0)
        )
        if first == second == 0.0:
            raise InvalidValueError(
                "Both rates are 0, so nothing moves; give one of the layers a positive rate."
            )
        self.neti = neti
        self.learning_rate, self.second_layer_rate, self.half_loss = first, second, bool(half_loss)
        factor = 0.5 if half_loss else 1.0
        rates = Rates(
            factor * first, factor * second, neti.teacher.noise, neti.regularization.ridge
        )
        units = neti.teacher_units
        self.T: Array = units.W @ units.W.T
        students = neti.student.layers[0].activations
        teachers = self._teacher.net.layers[0].activations
        activations = [*students, *teachers]
        K = len(students)
        as_choice("fourth_moments", fourth_moments, METHODS)
        samples = sample_size(samples, len(activations), "samples", minimum=1000)
        generator = as_rng(rng)
        for activation in students if first > 0.0 else ():
            if jumps(activation):
                raise SingularMomentError(
                    f"{activation.name} jumps: the variance of its gradients is infinite, so "
                    "that there is no online "
                    "learning with it. Use a continuous activation, e.g. erf or relu."
                )
        fourth: FourthMoments | None = None
        if first > 0.0:
            if fourth_moments == "auto":
                fourth_moments = "closed" if closed_form_applies(activations, K) else "sampling"
            if fourth_moments == "closed":
                fourth = ClosedFourthMoments(activations, K)
            else:
                fourth = SampledFourthMoments(activations, K, samples, generator)
        self.fourth_moments = "none" if fourth is None else fourth.name
        self._rates = rates
        self.equations = Equations(
            list(students), list(teachers), fourth, self.T, units.B, rates, neti.method, neti.rtol
        )

    # ----------------------------------------------------------------------------------------------
    # states

    def state(self, theta: Any) -> OrderState:
        """Order parameters of the parameters ``theta`` (P,) of the student."""
        units = self.neti.student_units(self.neti.check(theta))
        return OrderState(
            units.W @ units.W.T, units.W @ self.neti.teacher_units.W.T, units.B.T.copy()
        )

    def check(self, state: Any) -> OrderState:
        """``(Q, R, v)`` as arrays of the right shapes, v (O, K) or, with one output, (K,); or an
        error.

        Raises
        ------
        ShapeError, InvalidValueError
            If shapes do not fit, Q is not symmetric, or no weights have these overlaps.
        """
        if not isinstance(state, (tuple, list)) or len(state) != 3:
            raise InvalidTypeError(
                f"state is a {type(state).__name__}; a tuple (Q, R, v) is needed, e.g. from "
                "OrderParameters.state(theta)."
            )
        where = self.equations.coordinates
        K = where.K
        M = where.M
        O = where.O
        Q, R, v = (
            as_real_array(name, value) for name, value in zip(("Q", "R", "v"), state, strict=True)
        )
        if v.shape == (K,) and O == 1:
            v = v[None]
        for name, value, shape in (("Q", Q, (K, K)), ("R", R, (K, M)), ("v", v, (O, K))):
            if value.shape != shape:
                raise ShapeError(f"{name} has shape {value.shape}; {shape} is needed.")
        scale = float(np.abs(np.diagonal(Q)).sum() + np.trace(self.T))
        if np.abs(Q - Q.T).max() > _ROUNDING * scale:
            raise InvalidValueError(
                "Q is not symmetric; it is the matrix of overlaps w_i.w_k. Pass (Q + Q.T) / 2."
            )
        Q = (Q + Q.T) / 2
        smallest = float(np.linalg.eigvalsh(np.block([[Q, R], [R.T, self.T]]))[0])
        if smallest < -_ROUNDING * scale:
            raise InvalidValueError(
                f"((Q, R), (R', T)) has the eigenvalue {smallest:.3g}: no weights have these "
                "overlaps. Each R_in^2 must be at "
                "most Q_ii T_nn, and so on; take Q and R from weights, e.g. by "
                "OrderParameters.state(theta)."
            )
        return OrderState(Q, R, v)

    def _initial(self, initial: Any) -> Array:
        """Variables of an initial condition: (Q, R, v) or theta."""
        state = self.check(initial if _is_state(initial) else self.state(initial))
        for i, activation in enumerate(self.neti.layers[0].activations):
            if activation.kinks and not state.Q[i, i] > 0.0:
                raise SingularMomentError(
                    f"student {i} has weights of length 0, where {activation.name} has no "
                    "gradient; start from weights that are not zero."
                )
        return self.equations.coordinates.pack(state)

    def derivative(self, state: Any) -> OrderState:
        """Time derivatives of Q, R and v at a state or at theta."""
        coordinates = self.equations.coordinates
        return coordinates.unpack(self.equations.value(self._initial(state)))

    def generalization_error(self, state: Any) -> float:
        """E |student - teacher|^2 at a state or at theta, without label noise and without a factor
        1/2.
        """
        return self.equations.error(self._initial(state))

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables in the order of :meth:`jacobian`: upper triangle of Q, R, v, each
        row by row.
        """
        where = self.equations.coordinates
        pairs = [f"Q[{i},{k}]" for i, k in zip(*where.q, strict=True)]
        pairs += [f"R[{i},{m}]" for i in range(where.K) for m in range(where.M)]
        return (*pairs, *(f"v[{o},{i}]" for o in range(where.O) for i in range(where.K)))

    def jacobian(self, state: Any) -> Array:
        """Derivative of the time derivatives in the order parameters, exact but for sampled fourth
        moments.

        Parameters
        ----------
        state : (Q, R, v) or (P,) array
            Order parameters, or parameters of the student.

        Returns
        -------
        (n, n) array
            Rows and columns in the order of :attr:`variables`. Q is symmetric: Q[i,k] and Q[k,i]
            are one variable.

        Raises
        ------
        ShapeError, InvalidValueError
            If no weights have these order parameters.
        SingularMomentError
            If a kinked student has weights of length 0.

        Examples
        --------
        >>> import infflow as inf
        >>> net = inf.Net([(1, "identity", False), (1, "identity", False)], input_dim=2)
        >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
        >>> dynamics = inf.OrderParameters(neti, 0.1, 0.0)
        >>> dynamics.variables
        ('Q[0,0]', 'R[0,0]', 'v[0,0]')
        >>> dynamics.jacobian(([[1.0]], [[1.0]], [1.0]))[0, :2].round(12).tolist()
        [-0.36, 0.32]
        """
        return self.equations.jacobian(self._initial(state))

    def fixed_point(self, state: Any) -> OnlineFixedPoint:
        """The fixed point next to a state, by Newton's method: a plateau, or where learning ends.

        Parameters
        ----------
        state : (Q, R, v) or (P,) array
            Where to start, e.g. ``solve(...).state(k)`` on the plateau. Newton's method goes to
            saddles as well.

        Returns
        -------
        OnlineFixedPoint
            ``state``, ``converged``, and the ``eigenvalues`` of the Jacobian: the largest real part
            is the rate at which a plateau is left. A layer with rate 0 stays as it is.

        Raises
        ------
        ShapeError, InvalidValueError
            If no weights have these order parameters.
        SingularMomentError
            If a kinked student has weights of length 0.

        Examples
        --------
        >>> import infflow as inf
        >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
        >>> dynamics = inf.OrderParameters(inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0])), 0.1)
        >>> found = dynamics.fixed_point([0.9, 0.2, 1.1])
        >>> found.converged, found.unstable, found.state.R.round(10).tolist()
        (True, 0, [[1.0]])
        """
        z = self._initial(state)
        with np.errstate(over="ignore", invalid="ignore"), limit_for(len(z)):
            return find_fixed_point(self.equations, z)

    # ----------------------------------------------------------------------------------------------
    # integration

    @public
    def solve(
        self,
        initial: Any,
        t_end: float | None = None,
        *,
        t_eval: Any = None,
        num_trajectory: int = 100,
        solver: str = "cvode_bdf",
        rtol: float = 1e-8,
        atol: float = 1e-10,
        min_error: float = 0.0,
        max_time: float = 180.0,
        max_steps: int = 10**6,
    ) -> OnlineResult:
        """Integrate the equations.

        Parameters
        ----------
        initial : (Q, R, v) or (P,) array
            Order parameters, or parameters of the student, whose overlaps are taken.
        t_end : float
            Steps over input dimension at the end; may be left out with ``t_eval``.
        t_eval : increasing array of times >= 0, optional
            Where to keep points; by default ``num_trajectory`` of them: half at equal distances
            from 0 to ``t_end``, so that plateaus and the ways between them show on a linear axis,
            and half logarithmically spaced from 1e-4 ``t_end`` on.
        solver : {"cvode_bdf", "radau", "bdf"}
            All with the exact Jacobian.
        rtol, atol : float
            Tolerances of the solver.
        min_error : float
            Stop when the generalization error has fallen to this.
        max_time, max_steps : float, int
            Limits: seconds, kept to within one evaluation and without those that numba compiles;
            steps of the solver.

        Returns
        -------
        OnlineResult
            If the run ends early, its last point is where.
        """
        z0 = self._initial(initial)
        times = _times(
            t_end,
            t_eval,
            as_integer("num_trajectory", num_trajectory, minimum=2, maximum=_MOST_POINTS),
        )
        settings = Settings(
            as_choice("solver", solver, SOLVERS),
            max(as_number("rtol", rtol, minimum=0.0, strict=True), _ROUNDING_OF_STEPS),
            as_number("atol", atol, minimum=0.0, strict=True),
            as_number("min_error", min_error, minimum=0.0),
            as_number("max_time", max_time, minimum=0.0, strict=True, infinite=True),
            as_integer("max_steps", max_steps, minimum=1),
        )
        equations = self.equations
        started = running_time()
        equations.evaluations = equations.jacobians = 0
        with np.errstate(over="ignore", invalid="ignore"), limit_for(len(z0)):
            path = integrate(equations, z0, times, settings)
        return self._result(
            path.t,
            path.z,
            path.status,
            path.note,
            path.steps,
            running_time() - started,
            self.fourth_moments,
            settings.max_time,
        )

    def _result(
        self,
        t: Array,
        z: Array,
        status: OnlineStop,
        note: str,
        steps: int,
        wall_time: float,
        fourth: str,
        max_time: float = math.inf,
    ) -> OnlineResult:
        equations = self.equations
        counts = (equations.evaluations, equations.jacobians) if fourth != "simulation" else (0, 0)
        sampled = self._sampling_errors(z, max_time - wall_time) if fourth == "sampling" else []
        with np.errstate(over="ignore", invalid="ignore"):
            errors = np.array([equations.error(point) for point in z])
        states = equations.coordinates.unpack(z)
        return OnlineResult(
            t,
            *states,
            self.T,
            errors,
            status,
            note,
            steps,
            *counts,
            wall_time,
            fourth,
            max(sampled, default=0.0),
            self._settings(),
        )

    def _sampling_errors(self, z: Array, max_time: float) -> list[float]:
        """Standard errors at the points z (T, n), from the last one back, as many as the time
        allows but at least one.
        """
        until = running_time() + max_time
        found = []
        for point in z[::-1]:
            found.append(self.equations.fourth_error(point))
            if running_time() >= until:
                break
        return found

    def _settings(self) -> dict[str, Any]:
        rates = {"learning_rate": self.learning_rate, "second_layer_rate": self.second_layer_rate}
        return {
            **rates,
            "half_loss": self.half_loss,
            "noise": self._rates.noise,
            "ridge": self._rates.ridge,
        }

    # ----------------------------------------------------------------------------------------
    # weights, and back

    @public
    def lift(self, state: Any, D: int, rng: Any = 0) -> Lifted:
        """Random weights in ``D`` dimensions with exactly these order parameters, teacher included.

        ``inf.overlaps(*lifted)`` gives the order parameters back, and ``inf.loss(*lifted)`` the
        generalization error plus label noise and ridge.

        Parameters
        ----------
        state : (Q, R, v)
            Or theta, whose overlaps are taken.
        D : int
            At least K + M.
        rng : int or numpy.random.Generator
            Chooses the directions.

        Returns
        -------
        Lifted
            Named tuple (neti, theta).
        """
        Q, R, v = self.check(state if _is_state(state) else self.state(state))
        K, n = len(Q), len(Q) + len(self.T)
        D = sample_size(D, n, "D", minimum=n)
        values, vectors = np.linalg.eigh(np.block([[Q, R], [R.T, self.T]]))
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        directions = np.linalg.qr(as_rng(rng).standard_normal((D, n)))[0]
        weights = root @ directions.T
        old = self._teacher.net
        width, activations, _ = old.layers[0]
        net = Net(
            [(width, list(activations), False), (old.output_dim, "identity", False)], input_dim=D
        )
        teacher = Teacher(
            net,
            net.pack([(weights[K:], None), (self.neti.teacher_units.B.T, None)]),
            self._rates.noise,
        )
        student = Net(
            [(K, list(self.neti.layers[0].activations), False), (len(v), "identity", False)],
            input_dim=D,
        )
        neti = self.neti.replace(student=student, teacher=teacher, input=None)
        return Lifted(neti, student.pack([(weights[:K], None), (v, None)]))

    @public
    def simulate(self, initial: Any, D: int, t_eval: Any, rng: Any = 0) -> OnlineResult:
        """Online gradient descent itself in ``D`` dimensions, from weights with the given order
        parameters.

        Parameters
        ----------
        initial : (Q, R, v) or (P,) array
        D : int
            Input dimension, at least K + M. Finite-size effects are of order 1/sqrt(D).
        t_eval : increasing array of times >= 0
            Times (steps / D) of the points; rounded to whole steps.
        rng : int or numpy.random.Generator

        Returns
        -------
        OnlineResult
            With the measured overlaps; ``generalization_error`` is that of infinitely many inputs
            at these overlaps.
        """
        generator = as_rng(rng)
        started = running_time()
        times = _times(None, t_eval, 2)
        lifted = self.lift(initial, D, generator)
        D = lifted.neti.input_dim
        steps = np.rint(times * D).astype(np.int64)
        with np.errstate(over="ignore", invalid="ignore"):  # a simulation may diverge
            states = simulate(
                lifted.neti, lifted.theta, steps, self._rates.w / D, self._rates.v / D, generator
            )
        coordinates = self.equations.coordinates
        z = np.array([coordinates.pack(OrderState(*state)) for state in states]).reshape(
            len(states), -1
        )
        finite = len(states) == len(steps)
        status = OnlineStop.SIMULATED if finite else OnlineStop.DIVERGED
        made = int(steps[len(states) - 1]) if states else 0
        return self._result(
            steps[: len(states)] / D, z, status, "", made, running_time() - started, "simulation"
        )

    def __repr__(self) -> str:
        half = ", half_loss=True" if self.half_loss else ""
        return (
            f"OrderParameters({self.neti!r}, learning_rate={self.learning_rate:g}, "
            f"second_layer_rate={self.second_layer_rate:g}{half}, "
            f"fourth_moments={self.fourth_moments!r})"
        )


def _is_state(value: Any) -> bool:
    """Whether (Q, R, v) is meant; a list of numbers is a vector of parameters."""
    return isinstance(value, (tuple, list)) and not all(isinstance(each, Real) for each in value)


def _check_network(neti: Any) -> Teacher:
    """Refuse what the equations do not cover, with the remedy; the teacher of what they do."""
    if not isinstance(neti, NetI):
        raise InvalidTypeError(f"neti is a {type(neti).__name__}; an inf.NetI is needed.")
    teacher = neti.teacher
    if not isinstance(teacher, Teacher):
        raise InvalidTypeError(
            f"the teacher is a {type(teacher).__name__}; order parameters need a network as "
            "teacher: inf.Teacher(net, theta)."
        )
    for name, net in (("student", neti.student), ("teacher", teacher.net)):
        if any(layer.bias for layer in net.layers):
            raise InvalidValueError(
                f"the {name} has biases; order parameters are implemented for networks without. "
                "Use (width, activation, False) in both layers."
            )
    if neti.student.weight_factors != (1.0, 1.0):
        raise InvalidValueError(
            f"the student has parametrization {neti.student.parametrization!r}; 'standard' is "
            "needed. Factors c of a layer are c^2 in its rate."
        )
    given = neti.input
    if not _is_standard(given):
        raise InvalidValueError(
            "the input is not standard normal; its covariance would enter the dynamics beyond Q "
            "and R. Use input=None."
        )
    if math.isfinite(neti.regularization.maxnorm):
        raise InvalidValueError(
            "maxnorm is finite; the barrier is no function of Q and R alone. Use ridge instead."
        )
    if neti.regularization.merge:
        raise InvalidValueError(
            "merge is given; order parameters have no term for it. Use ridge, or leave it out."
        )
    return teacher


def _is_standard(given: Any) -> bool:
    components = given.components()
    if len(components) != 1:
        return False
    _, mean, _ = components[0]
    zero = mean is None or not np.any(mean)
    return zero and (
        not isinstance(given, Gaussian) or np.array_equal(given.cov, np.eye(len(given.cov)))
    )


def _default_times(end: float, num: int) -> Array:
    """``num`` times from 0 to ``end``: one half equidistant, the other logarithmic."""
    even = np.linspace(0.0, end, (num + 3) // 2)
    times = np.union1d(even, np.geomspace(1e-4 * end, end, num - len(even), endpoint=False))
    while len(times) < num:  # some of the two halves are the same
        widest = int(np.diff(times).argmax())
        times = np.insert(times, widest + 1, 0.5 * (times[widest] + times[widest + 1]))
    return times


def _times(t_end: Any, t_eval: Any, num: int) -> Array:
    """The times at which points are kept; the last is the end."""
    if t_eval is None:
        if t_end is None:
            raise InvalidValueError(
                "neither t_end nor t_eval is given; say how far to go, in steps over dimension."
            )
        end = as_number("t_end", t_end, minimum=0.0, strict=True)
        if end < _SHORTEST:
            raise InvalidValueError(
                f"t_end is {end:g}, too short for points before it; at least {_SHORTEST:g} is "
                "needed."
            )
        return _default_times(end, num)
    times = as_real_array("t_eval", t_eval, ndim=1)
    if not len(times) or times[0] < 0 or (np.diff(times) <= 0).any():
        raise InvalidValueError("t_eval must be increasing times >= 0, at least one.")
    if t_end is not None:
        end = as_number("t_end", t_end, minimum=0.0, strict=True)
        if times[-1] > end:
            raise InvalidValueError(
                f"t_eval ends at {times[-1]:g}, after t_end = {end:g}; leave t_end out."
            )
        times = times if times[-1] == end else np.r_[times, end]
    return times
