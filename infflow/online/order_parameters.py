"""Order parameters of online learning: ``inf.OrderParameters``."""

from __future__ import annotations

import math
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._validation import (
    Array,
    as_choice,
    as_flag,
    as_integer,
    as_number,
    as_rng,
    public,
)
from ..compile_time import running_time
from ..errors import InvalidValueError, MethodError, SingularMomentError
from ..networks.infinite.neti import NetI
from ..networks.inputs import sample_size
from ..terminal import Bar
from ..threads import limit_for
from .checks import check_network, checked_state, groups_of
from .equations.fourth_moments import FourthMoments
from .equations.right_hand_side import Equations, Model
from .fixed_point import OnlineFixedPoint, find_fixed_point
from .integration import SOLVERS, Clock, OnlineStop, Path, Settings, integrate
from .outcome import SIMULATION, Run, result_of
from .result import OnlineResult
from .runs.fluctuations import Fluctuations, deviations
from .runs.simulation import Descent, simulate
from .runs.weights import Lifted, group_sizes, lift, overlaps
from .setup import METHODS, fourth_moments_of, learning_of
from .state import OrderState
from .targets import target_of
from .times import kept_times, noise_times

CONSTRAINTS = ("sphere",)

#: tolerance that solvers can resolve; smaller ones count as this
_ROUNDING_OF_STEPS = 2.5e-14
#: most points that are kept
_MOST_POINTS = 10**6


class OrderParameters:
    r"""Dynamics of Q, R and the second layer for online gradient descent in the limit of large
    input dimension.

    Every step draws one fresh input x and its label and moves the parameters by

    .. math::

        W &\leftarrow W - \frac{\eta}{D}\, \partial_W |y(x) - \text{label}|^2 \\
        v &\leftarrow v - \frac{\eta_v}{D}\, \partial_v |y(x) - \text{label}|^2

    with the rates :math:`\eta` (``learning_rate``) and :math:`\eta_v` (``second_layer_rate``). As
    :math:`D` grows at constant :math:`t = \text{steps}/D`, :math:`Q = W W^\T`, :math:`R = W V^\T`
    and :math:`v` follow ordinary differential equations (for coloured input one Q and R for each
    group of eigenvalues). Those of Q contain a term of order :math:`\eta^2`, which is the noise of
    single samples.

    Parameters
    ----------
    neti : NetI
        Student, teacher and label noise, squared or correlation loss; the teacher is a network or a
        polynomial, the input any Gaussian without mean. No biases, standard parametrization of the
        student, ridge (weight decay) if wanted, no maxnorm or merge. Eigenvalues of the covariance
        of the input that agree to 1e-9 of the largest are one group; for standard normal input the
        dimension only matters for the overlaps of the teacher.
    learning_rate : float or (K,) array
        Rate of the first layer, >= 0, in the formula above; an array has one for each student, and
        0 keeps a student fixed.
    second_layer_rate : float or (K,) array, optional
        Rate of the second layer, by default the same. 0 is the soft committee machine: only the
        first layer learns.
    half_loss : bool
        Rates refer to half of the squared error, the convention of Saad and Solla (1995) and Goldt
        et al. (2019): pass their :math:`\eta` and :math:`\eta_v`. The time t is the same in both;
        ``OrderParameters(neti, eta, half_loss=True)`` and ``OrderParameters(neti, eta / 2)`` are
        equal.
    fourth_moments : {"auto", "closed", "sampling"}
        How the term of order :math:`\eta^2` is evaluated. "auto" takes closed forms where there are
        (identity, polynomials, relu, leaky_relu, abs, erf, normal_cdf, gelu), else evenly spread
        points.
    samples : int
        Number of points for "sampling"; 64 times a power of two is taken, the nearest.
    rng : int or numpy.random.Generator
        For "sampling": one seed gives one smooth system of equations.
    batch_size : int
        Fresh samples of one step. The time is still steps over dimension.
    constraint : {None, "sphere"}
        "sphere": after every step students are scaled back to their lengths.
    schedule : dict, optional
        What changes in time: functions of t, or lists [(0, value), (t, value), ...] of piecewise
        constant values, by the names "learning_rate", "second_layer_rate", "noise", "ridge" and
        "outputs" (weights (O,) of the outputs in the loss: tasks with a head each, one after the
        other). Integration restarts where lists jump.
    spectrum : inf.Spectrum, optional
        Eigenvalues of the input in the limit of many inputs, in the place of a covariance; weights
        of theta and of the teacher are spread over all of them alike.
    input_noise : float
        Standard deviation of noise on the students' pre-activations while they learn.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an argument cannot be used, or the network is outside of what the equations cover.
    SingularMomentError
        If a student jumps (step, sign): the variance of its gradients is infinite.
    MethodError
        If closed forms are asked for where there are none.

    See Also
    --------
    train : the gradient flow, the limit of small rates.
    overlaps : order parameters of a network.
    Spectrum : coloured input in the limit of many inputs.

    Notes
    -----
    Goldt et al. write pre-activations :math:`w \cdot x/\sqrt D`; their :math:`w` is :math:`\sqrt D`
    times the one here. Then their rates :math:`\eta/\sqrt D` of the first and :math:`\eta_v/D` of
    the second layer are both :math:`1/D` here: plain gradient descent with one step size.

    In the limit of small rates it is the gradient flow of ``neti``:
    ``inf.train(neti, theta, eta=...)`` at the flow time ``learning_rate * t``.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> dynamics = inf.OrderParameters(neti, learning_rate=0.2)
    >>> result = dynamics.solve([0.5, 0.1, 0.8], t_end=100.0)
    >>> bool(result.generalization_error[-1] < 1e-4)
    False
    """

    @public
    def __init__(
        self,
        neti: NetI,
        learning_rate: ArrayLike,
        second_layer_rate: ArrayLike | None = None,
        *,
        half_loss: bool = False,
        fourth_moments: str = "auto",
        samples: int = 100_000,
        rng: int | np.random.Generator = 0,
        batch_size: int = 1,
        constraint: str | None = None,
        schedule: Any = None,
        spectrum: Any = None,
        input_noise: float = 0.0,
    ) -> None:
        check_network(neti)
        self.neti = neti
        self.half_loss = as_flag("half_loss", half_loss)
        self.batch_size = as_integer("batch_size", batch_size, minimum=1, maximum=10**12)
        self.constraint = (
            None if constraint is None else as_choice("constraint", constraint, CONSTRAINTS)
        )
        self.input_noise = as_number("input_noise", input_noise, minimum=0.0)
        learning = learning_of(neti, learning_rate, second_layer_rate, schedule, self.half_loss)
        self.learning_rate = learning.learning_rate
        self.second_layer_rate = learning.second_layer_rate
        self._schedule = learning.schedule
        groups = groups_of(neti, spectrum)
        target = target_of(neti)
        T = groups.gram(target.directions, target.directions)
        #: covariance of the teacher's pre-activations, for a polynomial of its directions
        self.T: Array = np.einsum("g,gij->ij", groups.eigenvalues, T)
        students = list(neti.student.layers[0].activations)
        teachers = list(target.activations)
        as_choice("fourth_moments", fourth_moments, METHODS)
        neurons = len(students) + len(teachers)
        samples = sample_size(samples, neurons, "samples", minimum=1000)
        generator = as_rng(rng)
        fourth: FourthMoments | None = None
        if learning.first_layer_moves:
            fourth = fourth_moments_of(students, teachers, fourth_moments, samples, generator)
        self.fourth_moments = "none" if fourth is None else fourth.name
        model = Model(
            students=students,
            target=target,
            groups=groups,
            T=T,
            fourth=fourth,
            correlation=neti.loss == "correlation",
            sphere=self.constraint == "sphere",
            input_noise=self.input_noise,
            batch_size=self.batch_size,
            method=neti.method,
            rtol=neti.rtol,
        )
        self.equations = Equations(model, self._schedule.at(0.0))

    # ----------------------------------------------------------------------------------------------
    # states

    def state(self, theta: Any) -> OrderState:
        """Order parameters of the parameters ``theta`` (P,) of the student."""
        units = self.neti.student_units(self.neti.check(theta))
        model = self.equations.model
        Q = model.groups.gram(units.W, units.W)
        R = model.groups.gram(units.W, model.target.directions)
        return self._shown(OrderState(Q, R, units.B.T.copy()))

    def _shown(self, state: OrderState) -> OrderState:
        """Without an axis of groups where there is one group only."""
        if self.equations.coordinates.G > 1:
            return state
        return OrderState(state.Q[0], state.R[0], state.v)

    def check(self, state: Any) -> OrderState:
        """``(Q, R, v)`` as arrays of the right shapes, v (O, K) or, with one output, (K,); or an
        error. For several groups of eigenvalues Q and R have an axis of groups in front.

        Raises
        ------
        ShapeError, InvalidValueError
            If shapes do not fit, Q is not symmetric, or no weights have these overlaps.
        """
        return self._shown(checked_state(state, self.equations.coordinates, self.equations.model.T))

    def _initial(self, initial: Any) -> Array:
        """Variables of an initial condition: (Q, R, v) or theta."""
        where = self.equations.coordinates
        model = self.equations.model
        given = initial if _is_state(initial) else self.state(initial)
        state = checked_state(given, where, model.T)
        lengths = np.einsum("gii->i", state.Q)
        for i, activation in enumerate(model.students):
            if lengths[i] > 0.0:
                continue
            if activation.kinks:
                raise SingularMomentError(
                    f"student {i} has weights of length 0, where {activation.name} has no "
                    "gradient; start from weights that are not zero."
                )
            if model.sphere:
                raise InvalidValueError(
                    f"student {i} has weights of length 0, which are on no sphere; start from "
                    "weights that are not zero."
                )
        return where.pack(state)

    def derivative(self, state: Any) -> OrderState:
        """Time derivatives of Q, R and v at a state or at theta; with a schedule those at t = 0."""
        z = self._initial(state)
        self.equations.rates = self._schedule.at(0.0)
        return self.equations.coordinates.unpack(self.equations.value(z))

    def generalization_error(self, state: Any) -> float:
        r""":math:`\E\,|\text{student} - \text{teacher}|^2` at a state or at theta, without label
        noise and without a factor 1/2.
        """
        return self.equations.error(self._initial(state))

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables in the order of :meth:`jacobian`.

        For each group these are the upper triangle of Q, and R, then v, each row by row.
        """
        return self.equations.coordinates.names()

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
        z = self._initial(state)
        self.equations.rates = self._schedule.at(0.0)
        return self.equations.jacobian(z)

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
        InfflowError
            As :meth:`jacobian`; MethodError where rates change in time.

        Examples
        --------
        >>> import infflow as inf
        >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
        >>> dynamics = inf.OrderParameters(inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0])), 0.1)
        >>> found = dynamics.fixed_point([0.9, 0.2, 1.1])
        >>> found.converged, found.unstable, found.state.R.round(10).tolist()
        (True, 0, [[1.0]])
        """
        if not self._schedule.is_constant:
            raise MethodError(
                f"there is a schedule ({', '.join(self._schedule.names)}), and no fixed points of "
                "equations that change in time. Leave it out."
            )
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
        progress: bool = True,
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
        progress : bool
            Whether a terminal or a notebook shows a progress bar.

        Returns
        -------
        OnlineResult
            If the run ends early, its last point is where.
        """
        z0 = self._initial(initial)
        times = kept_times(
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
        bar = _bar(progress, "solve", times)
        started = running_time()
        equations.evaluations = equations.jacobians = 0
        with np.errstate(over="ignore", invalid="ignore"), limit_for(len(z0)), bar:
            path = integrate(equations, z0, times, settings, self._clock(), bar)
        wall_time = running_time() - started
        return self._result(Run(path, wall_time, self.fourth_moments, settings.max_time))

    @public
    def fluctuations(
        self,
        initial: Any,
        D: int,
        t_end: float | None = None,
        *,
        t_eval: Any = None,
        num_trajectory: int = 100,
        samples: int = 8192,
        rng: Any = 0,
        max_time: float = 180.0,
        progress: bool = True,
    ) -> OnlineResult:
        r"""Scatter of single runs in ``D`` dimensions around the solution, to leading order in 1/D.

        The covariance :math:`\Sigma/D` of the order parameters of a run obeys
        :math:`\dot\Sigma = J \Sigma + \Sigma J^\T + B`, with the Jacobian :math:`J` and the
        covariance :math:`B` of the changes of one step (van Kampen's expansion). All runs start
        with the same order parameters.

        Parameters
        ----------
        initial : (Q, R, v) or (P,) array
            Order parameters, or parameters of the student, whose overlaps are taken.
        D : int
            Input dimension, at least K + M.
        t_end, t_eval, num_trajectory
            As for :meth:`solve`.
        samples : int
            Points for B; the nearest power of two is taken.
        rng : int or numpy.random.Generator
            Chooses these points.
        max_time : float
            Limit in seconds.
        progress : bool
            Whether a terminal or a notebook shows a progress bar.

        Returns
        -------
        OnlineResult
            Q, R, v, the groups and the errors hold *standard deviations* of single runs. Those of
            the generalization error neglect its curvature.

        Raises
        ------
        ShapeError, InvalidTypeError, InvalidValueError
            If an argument cannot be used, e.g. D below the number of overlaps.

        Examples
        --------
        >>> import infflow as inf
        >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
        >>> dynamics = inf.OrderParameters(inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0])), 0.5)
        >>> scatter = dynamics.fluctuations([0.5, 0.5, 1.0], 1000, t_eval=[0.0, 1.0])
        >>> bool(0.001 < scatter.R[1, 0, 0] < 0.1)
        True
        """
        z0 = self._initial(initial)
        where = self.equations.coordinates
        D = as_integer("D", D, minimum=where.K + where.M, maximum=10**15)
        count = as_integer("num_trajectory", num_trajectory, minimum=2, maximum=_MOST_POINTS)
        times = kept_times(t_end, t_eval, count)
        samples = sample_size(samples, len(z0), "samples", minimum=16)
        generator = as_rng(rng)
        limit = as_number("max_time", max_time, minimum=0.0, strict=True, infinite=True)
        system = Fluctuations(self.equations, 2 ** round(math.log2(samples)), generator)
        settings = Settings("cvode_bdf", 1e-6, 1e-9, 0.0, limit, 10**6)
        self.equations.evaluations = self.equations.jacobians = 0
        bar = _bar(progress, "fluctuations", times)
        started = running_time()
        with np.errstate(over="ignore", invalid="ignore"), limit_for(system.size), bar:
            grid = noise_times(times, self._schedule.jumps)
            solution = integrate(self.equations, z0, grid, settings, self._clock())
            system.prepare(solution.t, solution.z, self._set_time)

            def set_time(t: float) -> None:
                self._set_time(t)
                system.set_time(t)

            clock = Clock(self._schedule.jumps, set_time)
            path = integrate(system, system.start(z0), times, settings, clock, bar)
        mean = path._replace(z=path.z[:, : system.n])
        result = self._result(Run(mean, running_time() - started, self.fourth_moments))
        found = deviations(system, path.z, D)
        return replace(
            result,
            Q=found.Q,
            R=found.R,
            v=found.grouped.v,
            Q_groups=found.grouped.Q,
            R_groups=found.grouped.R,
            output_errors=found.outputs,
            generalization_error=found.error,
            settings={**result.settings, "standard_deviations_in": D},
        )

    def _clock(self) -> Clock | None:
        """What sets the rates of the equations, or None if they are constant."""
        if self._schedule.is_constant:
            return None
        return Clock(self._schedule.jumps, self._set_time)

    def _set_time(self, t: float) -> None:
        self.equations.rates = self._schedule.at(t)

    def _result(self, run: Run) -> OnlineResult:
        return result_of(run, self.equations, self._schedule, self.T, self._settings())

    def _settings(self) -> dict[str, Any]:
        """What a file of the result says of the equations."""
        rates = self._schedule.constant
        return {
            "learning_rate": self.learning_rate,
            "second_layer_rate": self.second_layer_rate,
            "half_loss": self.half_loss,
            "noise": rates.noise,
            "ridge": rates.ridge,
            "batch_size": self.batch_size,
            "constraint": self.constraint,
            "input_noise": self.input_noise,
            "loss": self.neti.loss,
            "scheduled": list(self._schedule.names),
            "eigenvalues": self.equations.eigenvalues.tolist(),
            "shares": self.equations.model.groups.shares.tolist(),
        }

    # ----------------------------------------------------------------------------------------------
    # weights, and back

    @public
    def lift(self, state: Any, D: int, rng: Any = 0) -> Lifted:
        """Random weights in ``D`` dimensions with exactly these order parameters, teacher included.

        For standard normal input ``inf.overlaps(*lifted)`` gives the order parameters back, and
        ``inf.loss(*lifted)`` the generalization error plus label noise and ridge. Groups of
        eigenvalues get their shares of the dimensions, rounded to whole numbers.

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
        where = self.equations.coordinates
        model = self.equations.model
        given = state if _is_state(state) else self.state(state)
        checked = checked_state(given, where, model.T)
        D = sample_size(D, where.K + where.M, "D", minimum=where.K + where.M)
        return lift(self.neti, model.groups, model.T, checked, D, as_rng(rng))

    @public
    def simulate(
        self, initial: Any, D: int, t_eval: Any, rng: Any = 0, *, progress: bool = True
    ) -> OnlineResult:
        r"""Online gradient descent itself in ``D`` dimensions, from weights with the given order
        parameters.

        Parameters
        ----------
        initial : (Q, R, v) or (P,) array
        D : int
            Input dimension, at least K + M. Finite-size effects are of order :math:`1/\sqrt D`.
        t_eval : increasing array of times >= 0
            Times (steps / D) of the points; rounded to whole steps.
        rng : int or numpy.random.Generator
        progress : bool
            Whether a terminal or a notebook shows a progress bar.

        Returns
        -------
        OnlineResult
            With the measured overlaps; ``generalization_error`` is that of infinitely many inputs
            at these overlaps.
        """
        generator = as_rng(rng)
        started = running_time()
        times = kept_times(None, t_eval, 2)
        lifted = self.lift(initial, D, generator)
        D = lifted.neti.input_dim
        sample_size(self.batch_size, D, "batch_size", noun="input")
        model = self.equations.model
        where = self.equations.coordinates
        sizes = group_sizes(model.groups.shares, D)
        variances = np.repeat(model.groups.eigenvalues, sizes)
        descent = Descent(
            lifted.neti, None if (variances == 1.0).all() else variances, model, self._schedule
        )
        steps = np.rint(times * D).astype(np.int64)
        bar = _bar(progress, "simulate", steps / D)
        with np.errstate(over="ignore", invalid="ignore"), bar:  # a simulation may diverge
            found = simulate(descent, lifted.theta, steps, generator, bar)
        V = lifted.neti.teacher_units.W
        cuts = np.cumsum(sizes)[:-1]
        states = [where.pack(overlaps(W, V, v, cuts)) for W, v in found]
        finite = len(states) == len(steps)
        status = OnlineStop.SIMULATED if finite else OnlineStop.DIVERGED
        made = int(steps[len(states) - 1]) if states else 0
        z = np.array(states).reshape(len(states), where.size)
        path = Path(steps[: len(states)] / D, z, made, status, "")
        return self._result(Run(path, running_time() - started, SIMULATION))

    def __repr__(self) -> str:
        half = ", half_loss=True" if self.half_loss else ""
        return (
            f"OrderParameters({self.neti!r}, learning_rate={_short(self.learning_rate)}, "
            f"second_layer_rate={_short(self.second_layer_rate)}{half}, "
            f"fourth_moments={self.fourth_moments!r})"
        )


def _bar(progress: bool, what: str, times: Array) -> Bar:
    """A bar along the time, for runs that take long enough to look at it."""
    return Bar(
        as_flag("progress", progress),
        total=float(times[-1]),
        desc=what,
        delay=0.5,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| t {n:.4g} of {total:.4g} [{elapsed}]",
    )


def _short(rate: float | list[float]) -> str:
    return f"{rate:g}" if isinstance(rate, float) else str(rate)


def _is_state(value: Any) -> bool:
    """Whether (Q, R, v) is meant; a list of numbers is a vector of parameters."""
    return isinstance(value, (tuple, list)) and not all(isinstance(each, Real) for each in value)
