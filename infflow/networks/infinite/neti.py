"""The infinite-data network: a student and a teacher with Gaussian input."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np

from ..._validation import Array, as_choice, as_integer, as_number, as_rng, public, shown
from ...errors import (
    InvalidTypeError,
    InvalidValueError,
    MethodError,
    ShapeError,
    SingularMomentError,
    UnknownNameError,
)
from ...integrals.moments import METHODS as MOMENT_METHODS
from ...integrals.surrogate.evaluator import OUTSIDE
from ...integrals.surrogate.files import folders
from ...memory import require_memory
from ...objective import Evaluation
from ..finite import covariance
from ..finite.net import FISHER_REMEDY, Net
from ..gradient_moments import covariances
from ..inputs import as_input, times_covariance
from ..low_discrepancy import SAMPLING, sobol_sample
from ..parameters import Layout
from ..regularization import Regularization
from ..replacement import changed, recorded
from ..teacher import Teacher
from ..unit_rows import UnitRows
from . import doubled_student, explain
from .checks import check_shallow
from .component_loss import ComponentLoss, Population
from .near_teacher.near_loss import CANCELLED, NearLoss
from .neurons import AnyTeacher, neurons_of, teacher_neurons
from .population_loss import State, Units, singular_message
from .targets.function_teacher import FunctionTeacher
from .targets.polynomial_teacher import PolynomialTeacher

METHODS = ("auto", *MOMENT_METHODS)
#: squared error, and its cross terms alone
LOSSES = ("squared", "correlation")

#: points of a covariance of gradients that has no closed form
_SAMPLES = 100_000


class NetI:
    r"""Expected loss of a student on a teacher's labels, over infinitely many Gaussian inputs.

    :math:`L(\theta) = \E\,|\text{student}(x) - \text{teacher}(x)|^2`, summed over outputs, plus
    ``noise**2`` per output, plus the regularisation. Solvers and the functions
    :func:`infflow.loss`, :func:`~infflow.gradient`, :func:`~infflow.hessian` and
    :func:`~infflow.hvp` treat it like a :class:`~infflow.Net` with data.

    Parameters
    ----------
    student : Net
        Architecture with one hidden layer and identity output; any bias, activation per neuron,
        several outputs, any parametrization. Its own regularisation, if any, does not count; that
        given here does. In the spherical parametrization it acts on weights of length one.
    teacher : Teacher, PolynomialTeacher or FunctionTeacher
        A network of the same kind with its parameters and label noise; its neurons, activations and
        parametrization are its own. Or a polynomial of any number of projections of the input, or
        any function of one or two.
    input : None, Gaussian or GaussianMixture
        Distribution of the input; None is standard normal.
    method : str
        How the Gaussian integrals are evaluated: "auto" (the cheapest that meets ``rtol``, pair by
        pair), or only by "closed", "hermite", "numeric", "cubature" or "surrogate" (perceptrons
        for networks without biases; approximate, see :doc:`/surrogates`).
    rtol : float
        Tolerance of the integrals relative to :math:`\sqrt{\E f^2\, \E g^2}`; closed forms are
        exact to rounding.
    maxnorm, ridge : float
        The barrier's c and the ridge coefficient.
    merge : dict or list of dict, optional
        ``{"layer": 1, "pair": (i, j), "lambda": c}`` adds :math:`\tfrac{c}{2} |w_i - w_j|^2`,
        biases included: see :class:`~infflow.Net`.
    outside : {"error", "exact"}
        With ``method="surrogate"``: pairs outside of a surrogate's domain, with biases or with
        activations that have no surrogate raise an error, or are evaluated exactly.
    surrogates_dir : path, optional
        With ``method="surrogate"``: a folder with surrogates of your own, searched first; by
        default the one that the environment variable INFFLOW_SURROGATES names, if it is set.
    loss : {"squared", "correlation"}
        "correlation" is the squared loss without the pairs of students,
        :math:`\E|y|^2 - 2\, \E[y \cdot \text{student}]` (plus label noise): neurons don't see each
        other. It is linear in the second layer and unbounded below, so keep that layer fixed
        (``eta``), bound the weights by ``ridge``, ``maxnorm``, and train with ``min_loss=-inf``.

    Raises
    ------
    InvalidTypeError, InvalidValueError, ShapeError
        If an argument cannot be used, e.g. a deep network, or dimensions that differ.
    MethodError
        If the method is not defined for one of the activations.
    OutsideDomainError
        If a pair of teacher neurons lies outside of the domain of a surrogate; pairs with students
        raise it where they are evaluated, which solvers take as a step that went too far.
    StorageError
        If the files of a surrogate cannot be used.

    See Also
    --------
    Net : samples.
    SymmetricNetI : networks of any size, by symmetry.
    Teacher : a network as target.
    FunctionTeacher : a function as target.
    train : follow the flow.

    Notes
    -----
    The loss is meaningful down to about 1e-16 of the sum of its terms (of order :math:`\E y^2`) in
    general. Next to a solution that matches the teacher neuron by neuron it is evaluated by another
    formula without cancellation, and meaningful down to underflow; see
    :mod:`infflow.networks.infinite.near_teacher.realizable`.

    At points without a gradient a mean over directions is used: relu with w = b = 0 has slope 1/2
    there, exactly parallel steps do not push each other sideways. Where the Hessian is infinite it
    raises ``SingularMomentError``.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> round(inf.loss(neti, [0.5, 0.0, 1.0]), 4)
    0.0519
    >>> inf.train(neti, [0.5, 0.1, 0.8], progress=False).theta.round(6).tolist()
    [1.0, -0.0, 1.0]
    """

    _arguments: dict[str, Any]  # the constructor's; replace reads them

    @public
    @recorded()
    def __init__(
        self,
        student: Net,
        teacher: AnyTeacher,
        input: Any = None,
        method: str = "auto",
        rtol: float = 1e-10,
        maxnorm: float = np.inf,
        ridge: float = 0.0,
        outside: str = "error",
        surrogates_dir: Any = None,
        merge: Any = None,
        loss: str = "squared",
    ) -> None:
        if not isinstance(student, Net):
            raise InvalidTypeError(f"student is a {type(student).__name__}; an inf.Net is needed.")
        if not isinstance(teacher, AnyTeacher):
            raise InvalidTypeError(
                f"teacher is a {type(teacher).__name__}; an inf.Teacher(net, theta) is needed to "
                "give it parameters, or an inf.PolynomialTeacher(terms, V) or "
                "inf.FunctionTeacher(F, V)."
            )
        check_shallow("student", student)
        if isinstance(teacher, Teacher):
            check_shallow("teacher", teacher.net)
        for what in ("input_dim", "output_dim"):
            own = getattr(student, what)
            other = getattr(teacher, what)
            if own != other:
                raise ShapeError(f"student has {what} {own} and teacher {other}; they must agree.")
        self.student = student
        self.teacher = teacher
        self.input = as_input(input, student.input_dim)
        self.method = as_choice("method", method, METHODS)
        self.outside = as_choice("outside", outside, OUTSIDE)
        self.surrogates_dir = surrogates_dir
        folders(surrogates_dir)  # raises where it is none
        if self.method != "surrogate" and (outside != "error" or surrogates_dir is not None):
            raise InvalidValueError(
                f"outside and surrogates_dir are for method='surrogate'; method is {shown(method)}."
            )
        self.loss = as_choice("loss", loss, LOSSES)
        if self.loss == "correlation" and self.method == "surrogate":
            raise MethodError(
                "surrogates stand for the squared loss. Use method='auto' with loss='correlation'."
            )
        self.rtol = as_number("rtol", rtol, minimum=0.0, strict=True)
        self.regularization = Regularization.from_arguments(maxnorm, ridge, merge, self.layout)
        self.teacher_units = teacher_neurons(teacher)
        population = Population(
            student,
            teacher,
            self.teacher_units,
            self.loss,
            self.method,
            self.rtol,
            self.outside,
            surrogates_dir,
        )
        with np.errstate(over="ignore", invalid="ignore"):  # evaluations say where weights overflow
            self._components = [
                ComponentLoss(population, component) for component in self.input.components()
            ]
        self._noise = teacher.noise * teacher.noise * student.output_dim
        self._memo: tuple[bytes, int, list[State]] | None = None
        #: Evaluates the loss next to the teacher; made when it is first needed.
        self._near: NearLoss | None = None
        #: Two copies of the student, for its Fisher matrix; made when it is first needed.
        self._pairs: NetI | None = None
        self._lock = Lock()

    # ----------------------------------------------------------------------------------------------
    # properties

    @property
    def layout(self) -> Layout:
        """Shapes and order of the student's parameters."""
        return self.student.layout

    @property
    def num_params(self) -> int:
        """Number P of the student's parameters."""
        return self.student.num_params

    @property
    def input_dim(self) -> int:
        """Dimension of the input."""
        return self.student.input_dim

    @property
    def output_dim(self) -> int:
        """Number of outputs."""
        return self.student.output_dim

    @property
    def unit_rows(self) -> UnitRows | None:
        """The rows of the student's weights that enter with length one."""
        return self.student.unit_rows

    @property
    def layers(self) -> Any:
        """Layers of the student."""
        return self.student.layers

    def pack(self, pairs: Any) -> Array:
        """Flat vector from ``[(W1, b1), (W2, b2)]`` of the student."""
        return self.layout.pack(pairs)

    def unpack(self, theta: Any) -> Any:
        """Views ``[(W1, b1), (W2, b2)]`` of the student's parameters."""
        return self.layout.unpack(theta)

    def check(self, theta: Any) -> Array:
        """``theta`` as a finite float64 vector ``(P,)``, or an error."""
        return self.layout.check(theta)

    @property
    def identity(self) -> dict[str, str]:
        """What a checkpoint is to agree in beside value and gradient at the start."""
        return self.regularization.identity()

    def predict(self, theta: Any, X: Any) -> Array:
        """Outputs ``(N, D_out)`` of the student."""
        return self.student.predict(theta, X)

    def student_units(self, theta: Array) -> Units:
        """Weights, biases and output vectors as they act on the input, factors of the
        parametrization included.
        """
        return neurons_of(self.student, theta)

    # ----------------------------------------------------------------------------------------------
    # derivatives

    def evaluate(self, theta: Any, order: int = 0) -> Evaluation:
        """Loss, and gradient ``(P,)`` from order 1, and Hessian ``(P, P)`` at order 2.

        Where the weights are so large that numbers overflow, the result is not finite, as solvers
        expect of a step that went too far; the public functions ``loss``, ``gradient`` and
        ``hessian`` raise there.

        Raises
        ------
        ShapeError, InvalidValueError
            If theta has another shape or is not finite.
        SingularMomentError
            If the Hessian is infinite at theta.
        TooLargeError
            If the Hessian would not fit in memory.
        """
        theta = self.layout.check(theta)
        order = as_integer("order", order, minimum=0, maximum=2)
        if order == 2:
            require_memory(self.num_params)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self._evaluate(theta, order)

    def _evaluate(self, theta: Array, order: int) -> Evaluation:
        close = self._close_again(theta) if order == 0 else None
        states = [] if close is not None else self._states(theta, order)
        value = (self._value(theta, states) if close is None else close) + self._noise
        gradient = hessian = None
        if order >= 1:
            gradient = self._sum(ComponentLoss.gradient, states)
        if order == 2:
            hessian = self._sum(ComponentLoss.hessian, states)
            if math.isfinite(value) and not np.isfinite(hessian).all():
                raise SingularMomentError(singular_message(self._components[0].loss, states))
        if self.regularization.active:
            point = self.student.normalized(theta)
            value += self.regularization.value(point)
            if gradient is not None:
                gradient += self.regularization.gradient(point)
            if hessian is not None:
                self.regularization.add_hessian(point, hessian)
        found = Evaluation(value, gradient, hessian)
        return found if self.unit_rows is None else self.unit_rows.pull(theta, found)

    def acting_gradient(self, theta: Array) -> Array:
        """Gradient ``(P,)`` in the weights of length one, at ``theta``; see ``unit_rows.py``."""
        gradient = self._sum(ComponentLoss.gradient, self._states(theta, 2))
        if self.regularization.active:
            gradient += self.regularization.gradient(self.student.normalized(theta))
        return gradient

    def hvp(self, theta: Any, v: Any) -> Array:
        """Hessian times ``v`` of shape ``(P,)`` or ``(P, m)``, without forming the Hessian.

        The cost is O(K (K + M) D) for K students, M teachers, D inputs and each direction.
        """
        theta = self.layout.check(theta)
        v = self.layout.check_directions(v)
        columns = v.reshape(self.num_params, -1)
        times = self._times(theta)
        if self.unit_rows is not None:
            times = self.unit_rows.product(theta, self.acting_gradient(theta), times)
        return times(columns).reshape(v.shape)

    def _times(self, theta: Array) -> Callable[[Array], Array]:
        """The Hessian times columns ``(P, m)``; in the weights of length one, where there are."""
        states = self._states(theta, 2)
        point = self.student.normalized(theta)

        def times(columns: Array) -> Array:
            product = np.zeros_like(columns)
            for part, state in zip(self._components, states, strict=True):
                for m in range(columns.shape[1]):
                    product[:, m] += part.weight * part.product(state, columns[:, m])
            if not np.isfinite(product).all():
                raise SingularMomentError(singular_message(self._components[0].loss, states))
            if self.regularization.active:
                product += self.regularization.hvp(point, columns)
            return product

        return times

    def fisher(self, theta: Any) -> Array:
        r""":math:`\E[\nabla f\, \nabla f^\T]` over the input, exactly, ``(P, P)``; see
        :func:`infflow.fisher`.
        """
        require_memory(self.num_params, "the Fisher matrix", remedy=FISHER_REMEDY)
        theta = self.check(theta)
        method = "auto" if self.method == "surrogate" else self.method
        if doubled_student.is_covered(self.student):
            if self._pairs is None:
                both = doubled_student.doubled(self.student)
                self._pairs = NetI(*both, self.input, method, self.rtol)
            layout = self._pairs.layout
            at = doubled_student.point(layout, self.student, theta)
            with np.errstate(over="ignore", invalid="ignore"):
                H = self._pairs.evaluate(at, 2).H
            return doubled_student.fisher(H, layout, self.student)
        student = self.student.replace(input=None, target=None, weights=None, loss="mse")
        # half of the Hessian of E |f_theta - f_theta*|^2 at theta = theta*: there is no residual
        same = NetI(student, Teacher(student, theta), self.input, method, self.rtol)
        with np.errstate(over="ignore", invalid="ignore"):
            return 0.5 * same.evaluate(theta, 2).H

    def gradient_covariance(self, theta: Any) -> Array:
        """Covariance of the gradients of single samples, ``(P, P)``, exact where it can be, and
        else over the same points at every call; see :func:`infflow.gradient_covariance`.
        """
        theta = self.check(theta)
        if self.loss != "squared":
            raise MethodError(
                f"this network has loss {self.loss!r}; gradients of single samples are those of "
                "the squared loss. Use net.replace(loss='squared')."
            )
        require_memory(self.num_params, covariance.NAME, remedy=covariance.REMEDY)
        rng = np.random.default_rng(0)
        with np.errstate(over="ignore", invalid="ignore"):
            found = list(covariances(self, theta, "auto", _SAMPLES, rng))
        return np.sum(found, axis=0) / len(found)

    def frozen(self, theta: Any, rtol: float = 1e-14) -> NetI:
        r"""The same loss with a fixed choice of evaluators, for a search of fixed points from
        ``theta``.

        Where integrals are evaluated to a tolerance, methods and lengths of series change from
        point to point, and loss and gradient jump by as much as the tolerance allows. The network
        that is returned keeps those that meet ``rtol`` at ``theta`` (relative to
        :math:`\sqrt{\E f^2\, \E g^2}`; elsewhere the most accurate ones), until an error bound
        grows tenfold. It is this network itself where all integrals are closed forms, and with a
        :class:`FunctionTeacher`.

        Raises
        ------
        ShapeError, InvalidValueError
            If theta has another shape or is not finite.
        """
        units = self.student_units(self.layout.check(theta))
        rtol = as_number("rtol", rtol, minimum=0.0)
        smooth = all(part.loss.evaluator.is_smooth for part in self._components)
        if smooth or isinstance(self.teacher, FunctionTeacher):
            return self
        other = copy.copy(self)
        other._memo = other._near = None  # evaluators that change are not shared
        other._lock = Lock()
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            other._components = [
                part.frozen(part.to_component(units), rtol) for part in self._components
            ]
        return other

    def with_method(self, method: str) -> NetI:
        """The same student, teacher, input and regularisation with another method for the
        integrals, e.g. ``"auto"``.
        """
        if as_choice("method", method, METHODS) == self.method:
            return self
        changes: dict[str, Any] = {"method": method}
        if method != "surrogate":
            changes |= {"outside": "error", "surrogates_dir": None}
        return self.replace(**changes)

    def replace(self, **changes: Any) -> NetI:
        """The same with other arguments of the constructor; everything else is kept.

        Parameters
        ----------
        **changes
            Arguments of :class:`NetI` by name. :meth:`with_method` also takes back what is for
            surrogates.

        Raises
        ------
        InfflowError
            As the constructor, and InvalidTypeError for a name that it does not have.
        """
        return NetI(**changed(self, {}, changes))

    def observable(self, name: str) -> Callable[[Array], Any]:
        """The function of theta that ``inf.train(observables=[name])`` records.

        ``"overlaps"``: covariances (K, K + M) of the pre-activations of the students with those of
        students and teachers, Q and R of :func:`infflow.overlaps` side by side (T does not change).

        Raises
        ------
        UnknownNameError
            If the name is another one.
        """
        if not isinstance(name, str) or name != "overlaps":
            raise UnknownNameError(
                f"observable {shown(name)} is not known. Known: 'lambda_min', 'overlaps'; or "
                f"pass a dictionary {{name: function of theta}}."
            )
        V = self.teacher_units.W

        def overlaps(theta: Array) -> Array:
            W = self.student_units(theta).W
            return times_covariance(W, self.input) @ np.vstack([W, V]).T

        return overlaps

    def _sum(
        self, derivative: Callable[[ComponentLoss, State], Array], states: list[State]
    ) -> Array:
        """Gradient or Hessian, from those of the components."""
        total = derivative(self._components[0], states[0])
        if len(states) > 1:
            total *= self._components[0].weight
        for part, state in zip(self._components[1:], states[1:], strict=True):
            total += part.weight * derivative(part, state)
        return total

    def _states(self, theta: Array, order: int) -> list[State]:
        """Jets of all components; those of the last theta are kept, since Krylov solvers ask for
        many products there.

        Those for another order differ by rounding: the loss is a function of theta, whatever was
        evaluated before.
        """
        key = theta.tobytes()
        with self._lock:  # evaluators keep expansions from call to call
            if self._memo is not None and self._memo[1] == order and self._memo[0] == key:
                return self._memo[2]
            units = self.student_units(theta)
            states = [part.loss.state(part.to_component(units), order) for part in self._components]
            self._memo = (key, order, states)
            return states

    def _value(self, theta: Array, states: list[State]) -> float:
        """The loss without noise and regularisation; without cancellation next to a realizable
        solution.
        """
        value = scale = 0.0
        for part, state in zip(self._components, states, strict=True):
            own, terms = part.loss.value(state)
            value += part.weight * own
            scale += part.weight * terms
        if self.loss == "correlation" or self.method == "surrogate":
            return value  # may be negative, a surrogate's by as much as it errs
        if value > CANCELLED * scale or not math.isfinite(value):
            return value
        if isinstance(self.teacher, Teacher):
            with self._lock:  # evaluators keep expansions from call to call
                close = self._near_loss(self.teacher).value(self.student_units(theta))
            if close is not None:
                return close
        # Never report less than can be resolved: a rounding error below zero is not a solution.
        return float(max(value, np.finfo(np.float64).eps * scale))

    def _close_again(self, theta: Array) -> float | None:
        """The loss next to the teacher where the last one was there, too; None elsewhere.

        Integrals of the plain sum are not evaluated for it. The result is the same with them.
        """
        near = self._near
        if near is None or not near.was_close:
            return None
        with self._lock:
            close = near.value(self.student_units(theta))
        return close if near.was_close else None

    def _near_loss(self, teacher: Teacher) -> NearLoss:
        """What evaluates the loss next to the teacher, made when it is first needed."""
        if self._near is None:
            f, g = (list(net.layers[0].activations) for net in (self.student, teacher.net))
            where = (f, g, self.teacher_units)
            self._near = NearLoss(self._components, *where, self.method, self.rtol)
        return self._near

    @public
    def explain(self, theta: Any = None) -> str:
        """Which evaluator each pair of activations uses, why, its error bound and its cost, as a
        table.

        Parameters
        ----------
        theta : array (P,), optional
            Where to evaluate value, gradient and Hessian; the last point that was evaluated if not
            given.

        Raises
        ------
        InvalidValueError
            If nothing was evaluated yet and no theta is given.
        """
        if theta is not None:
            self._memo = None
            self.evaluate(theta, 2)
        if self._memo is None:
            raise InvalidValueError("nothing was evaluated yet; pass theta to explain.")
        parts = [explain.table(part.loss, self.rtol) for part in self._components]
        if not isinstance(self.teacher, Teacher):
            errors = [state.cross.error for state in self._memo[2]]  # type: ignore[attr-defined]
            parts = [
                f"{t}\nstudents x {self._target}, estimated error {e:.0e}"
                for t, e in zip(parts, errors, strict=True)
            ]
        if len(parts) == 1:
            return parts[0]
        return "\n".join(f"component {k}\n{part}" for k, part in enumerate(parts))

    @property
    def _target(self) -> str:
        """What a target that is no network is, and how its integrals are evaluated."""
        if isinstance(self.teacher, PolynomialTeacher):
            return "polynomial: Stein's lemma"
        return "function: quadrature"

    # ----------------------------------------------------------------------------------------------
    # finite data

    @public
    def sample(self, N: int, rng: Any, method: str = "random") -> Net:
        r"""Finite data of the same teacher and input for the same student.

        Parameters
        ----------
        N : int
            Number of samples.
        rng : int or numpy.random.Generator
        method : {"random", "sobol"}
            Independent inputs, or scrambled Sobol points, which fill the space evenly: means over
            them have errors that fall almost like 1/N for smooth networks of few inputs, instead of
            like :math:`1/\sqrt N`. Best with a power of two for N; at most 21,200 inputs.

        Returns
        -------
        Net
            With ``N`` inputs, targets with label noise, and the same regularisation.

        Raises
        ------
        MethodError
            For ``loss="correlation"``, which no ``Net`` has.
        """
        if self.loss != "squared":
            raise MethodError(
                f"this network has loss {self.loss!r}, which no Net has. Sample from "
                "neti.replace(loss='squared')."
            )
        N = as_integer("N", N, minimum=1)
        generator = as_rng(rng)
        if as_choice("method", method, SAMPLING) == "random":
            X = self.input.sample(N, generator)
            y = self.teacher.label(X, generator)
        else:
            X, noise = sobol_sample(self.input, N, self.output_dim, generator)
            y = self.teacher.predict(X) + self.teacher.noise * noise
        penalty = self.regularization.arguments()
        return self.student.replace(input=X, target=y, weights=None, loss="mse", **penalty)

    def __repr__(self) -> str:
        return f"NetI(student={self.student!r}, teacher={self.teacher!r}, input={self.input!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value for name, value in self.__dict__.items() if name not in ("_memo", "_lock")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._memo, self._lock = None, Lock()
