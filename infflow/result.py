"""Outcome of a run: the point that was found, how, and the path to it."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import summary
from ._validation import Array, as_real_array, counted, package, public, shown
from ._version import __version__
from .channels import Limit
from .errors import InvalidTypeError, ShapeError, StorageError
from .flow import Trajectory
from .rotation import Lift, Rotation
from .stopping import Statistics, StopReason
from .storage import Shapes, as_path, load_archive, plain, save_archive

_KIND = "infflow.Result"
#: format of files
_FORMAT = 1
#: format of runs in few inputs, whose trajectories have the parameters of these
_SHORT_FORMAT = 2
_OBSERVABLE = "observable:"


@summary.as_table
@dataclass(eq=False)  # arrays have no truth value; two results are equal if they are the same
class Result:
    """The outcome of :func:`infflow.train`.

    Attributes
    ----------
    theta : (P,) array
        The best point seen, by loss; where losses differ by less than their rounding error, the one
        with the smaller gradient.
    loss, gradient_norm : float
        Loss there, and infinity norm of its gradient over the parameters that are not frozen.
    status : StopReason
        Why the last stage stopped; ``status.message`` is a sentence.
    trajectory : Trajectory
        Points along the flow: ``t`` (T,), ``theta`` (T, P), ``loss`` (T,), ``gradient_norm`` (T,),
        ``observables``. Points of ``t_eval`` that the flow did not reach are NaN.
    flow, newton : Statistics
        What the two stages did and cost.
    theta0, theta_flow : (P,) arrays
        The start, and where the flow ended.
    settings : dict
        The arguments of the run.
    surrogate_loss : float, optional
        With ``polish="exact"``: what the surrogate gives at ``theta``, where ``loss`` is exact; NaN
        outside of its domain.
    reduction : str
        Whether the run took place in the inputs that the weights span (``train(reduce=...)``), or
        why not; empty where nothing could be reduced.
    limit : Limit, optional
        With the status ``CHANNEL``: the neurons that run off to infinity, what they become, and the
        loss there.

    See Also
    --------
    train : makes one.
    classify : what kind of point it is.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> result = inf.train(neti, [0.5, 0.1, 0.8], progress=False)
    >>> result.converged, result.trajectory.theta.shape[1], result.loss < 1e-20
    (True, 3, True)
    """

    theta: Array
    loss: float
    gradient_norm: float
    status: StopReason
    trajectory: Trajectory
    flow: Statistics
    newton: Statistics
    theta0: Array
    theta_flow: Array
    settings: dict[str, Any] = field(default_factory=dict)
    version: str = __version__
    platform: str = field(default_factory=lambda: _platform())
    surrogate_loss: float | None = None
    reduction: str = ""
    limit: Limit | None = None

    @property
    def loss_at_infinity(self) -> float | None:
        """To what the loss falls along a path that runs off to infinity; None for other runs."""
        return None if self.limit is None else self.limit.loss_at_infinity

    @property
    def converged(self) -> bool:
        """Whether the run ended at a fixed point as accurate as asked for, or as double precision
        allows.

        A flow that reached its ``t_end`` has done what was asked and is not converged.
        """
        return self.status.converged

    def __repr__(self) -> str:
        lines = (
            (
                f"Result: loss {self.loss:.6g}{self._beside()}, gradient norm "
                f"{self.gradient_norm:.3g}, {counted(len(self.theta), 'parameter')}"
            ),
            f"  {'converged' if self.converged else 'not converged'}: {self.status.message}",
            f"  flow    {self.flow} It ended at t = {self.flow.t:.6g}.",
            f"  newton  {self.newton}",
            *([f"  limit   {self.limit}"] if self.limit is not None else []),
            *([f"  {self.reduction}"] if self.trajectory.lift is not None else []),
        )
        return "\n".join(lines)

    def _summary(self) -> summary.Summary:
        rows: list[tuple[str, Any]] = [
            ("loss", f"{self.loss:.6g}{self._beside()}"),
            ("gradient norm", f"{self.gradient_norm:.3g}"),
            ("parameters", len(self.theta)),
            ("flow", f"{self.flow} It ended at t = {self.flow.t:.6g}."),
            ("newton", str(self.newton)),
        ]
        if self.trajectory.lift is not None:
            rows.append(("inputs", self.reduction))
        state = "converged" if self.converged else "not converged"
        return summary.Summary(f"Result: {state}. {self.status.message}", rows)

    def _beside(self) -> str:
        return (
            ""
            if self.surrogate_loss is None
            else f" (exact; the surrogate's {self.surrogate_loss:.6g})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as a dictionary of arrays, numbers, strings and dictionaries of these."""
        path = self.trajectory
        return {
            **self._metadata(),
            "theta": self.theta,
            "theta0": self.theta0,
            "theta_flow": self.theta_flow,
            "converged": self.converged,
            "trajectory": {
                "t": path.t,
                "theta": path.theta,
                "loss": path.loss,
                "gradient_norm": path.gradient_norm,
                "observables": dict(path.observables),
            },
        }

    def _metadata(self) -> dict[str, Any]:
        return {
            "loss": self.loss,
            "gradient_norm": self.gradient_norm,
            "status": self.status.name,
            "flow": self.flow.to_dict(),
            "newton": self.newton.to_dict(),
            "settings": plain(self.settings),
            "seed": _seed(self.settings),
            "version": self.version,
            "platform": self.platform,
            "surrogate_loss": self.surrogate_loss,
            "reduction": self.reduction,
            "limit": None if self.limit is None else self.limit.to_dict(),
        }

    def save(self, path: Any) -> None:
        """Write everything to one ``.npz`` file, atomically and without pickles.

        Beside the arrays it holds one text in JSON,
        ``json.loads(str(numpy.load(path)["metadata"]))``: loss, status, what the two stages did,
        the arguments of the run, its seed (that of the minibatches), the versions of infflow,
        Python and NumPy, and the machine. What you add to ``settings``, such as the seed of
        ``theta0``, is written with it: numbers, texts, arrays, lists and dictionaries of them; of
        anything else its ``repr``.

        Parameters
        ----------
        path : str or path-like
            File name; ``.npz`` is added where there is no suffix. An existing file is replaced.
        """
        track = self.trajectory
        arrays = {"theta": self.theta, "theta0": self.theta0, "theta_flow": self.theta_flow}
        arrays |= {"trajectory_t": track.t, "trajectory_loss": track.loss}
        version = _FORMAT
        if track.lift is None:
            arrays["trajectory_theta"] = track.points
        else:
            version = _SHORT_FORMAT
            rotation = track.lift.rotation
            arrays |= {"trajectory_short": track.points, "rotation_basis": rotation.basis}
            arrays["rotation_start"] = track.lift.short_start
        if self.limit is not None:
            arrays["limit_coordinates"] = self.limit.coordinates
        arrays |= {"trajectory_gradient_norm": track.gradient_norm}
        arrays |= {_OBSERVABLE + name: values for name, values in track.observables.items()}
        save_archive(
            as_path("path", path, ".npz"), _KIND, arrays, {"format": version, **self._metadata()}
        )

    @classmethod
    def load(cls, path: Any) -> Result:
        """Read a file that :meth:`save` wrote; everything is read and checked at once.

        Raises
        ------
        StorageError
            If the file is missing, damaged, or something else; the message names it.
        """
        file = as_path("path", path, ".npz")
        arrays, metadata = load_archive(
            file, _KIND, lambda shapes, found: _check_archive(str(file), shapes, found)
        )
        try:
            result = cls._assemble(arrays, metadata)
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(f"{file} is damaged: {error!r} is missing or wrong.") from error
        result._check(str(file))
        return result

    @classmethod
    def _assemble(cls, arrays: dict[str, Array], metadata: dict[str, Any]) -> Result:
        observables = {
            k.removeprefix(_OBSERVABLE): v for k, v in arrays.items() if k.startswith(_OBSERVABLE)
        }
        t, loss, norm = (arrays[f"trajectory_{name}"] for name in ("t", "loss", "gradient_norm"))
        lift = _lift_of(arrays)
        points = arrays["trajectory_theta" if lift is None else "trajectory_short"]
        trajectory = Trajectory(t, points, loss, norm, observables, lift)
        # files of earlier versions have no end
        end = float(t[-1]) if len(t) else 0.0
        flow = Statistics.from_dict({"t": end, **metadata["flow"]})
        return cls(
            arrays["theta"],
            float(metadata["loss"]),
            float(metadata["gradient_norm"]),
            StopReason[metadata["status"]],
            trajectory,
            flow,
            Statistics.from_dict(metadata["newton"]),
            arrays["theta0"],
            arrays["theta_flow"],
            metadata["settings"],
            metadata["version"],
            metadata["platform"],
            metadata.get("surrogate_loss"),
            metadata.get("reduction", ""),
            _limit_of(arrays, metadata),
        )

    def _check(self, file: str) -> None:
        """Numbers are finite where a flow has been; shapes have been checked."""
        track = self.trajectory
        needed = {"theta0": self.theta0, "theta_flow": self.theta_flow, "theta": self.theta}
        needed |= {"trajectory t": track.t}
        if track.lift is not None:
            needed |= {"rotation basis": track.lift.rotation.basis}
            needed |= {"rotation start": track.lift.short_start}
        # points that a flow did not reach are NaN, and results of other packages may lack losses
        along = {"trajectory theta": track.points, "trajectory loss": track.loss}
        along |= {"trajectory gradient_norm": track.gradient_norm}
        for name, array in (needed | along).items():
            allowed = np.isnan(array) if name in along else False
            if not (np.isfinite(array) | allowed).all():
                raise StorageError(
                    f"{file} is damaged: {name} is not finite. Restore or recompute it."
                )

    def to_xarray(self, net: Any = None) -> Any:
        """The trajectory as an ``xarray.Dataset`` with the dimensions ``t`` and ``parameter``.

        Parameters
        ----------
        net : Net or NetI, optional
            Names the parameters ``W1[0,0]``, ``b1[0]`` and so on (layers from 1, neurons from 0);
            without it they are numbered.

        Returns
        -------
        xarray.Dataset
            Variables ``theta`` (t, parameter), ``loss`` and ``gradient_norm`` (t), every observable
            (t, ...), and the points ``theta_best``, ``theta0`` and ``theta_flow`` (parameter).
            Attributes: loss, status, version and platform, and ``settings`` as JSON, so that the
            dataset can be written to a NetCDF file.

        Raises
        ------
        MissingPackageError
            Without xarray.
        """
        return to_dataset(self, net)

    def plot(self, ax: Any = None) -> Any:
        """Draw loss and gradient norm along the flow against time, both logarithmic.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Made with a figure of pyplot if not given. Other pictures of a run are in
            :mod:`infflow.plotting`.

        Returns
        -------
        matplotlib.axes.Axes
            ``result.plot().figure.savefig(name)`` writes a file.
        """
        from .plotting import plot_loss

        return plot_loss(self, ax=ax)


def _limit_of(arrays: dict[str, Array], metadata: dict[str, Any]) -> Limit | None:
    """Where the path ended at infinity, if it did."""
    found = metadata.get("limit")
    return None if found is None else Limit.from_dict(arrays["limit_coordinates"], found)


def _lift_of(arrays: dict[str, Array]) -> Lift | None:
    """How the points of a trajectory are lifted, where they have few inputs."""
    basis = arrays.get("rotation_basis")
    if basis is None:
        return None
    start = arrays["theta0"]
    short = arrays["rotation_start"]
    D, n = basis.shape
    width = (len(start) - len(short)) // max(D - n, 1)
    return Lift(Rotation(basis, width), start, short)


def _check_archive(file: str, shapes: Shapes, metadata: dict[str, Any]) -> None:
    """The format is known, and shapes fit together."""
    if metadata.get("format") not in (_FORMAT, _SHORT_FORMAT):
        raise StorageError(
            f"{file} has format {metadata.get('format')}; this version of infflow reads formats "
            f"{_FORMAT} and {_SHORT_FORMAT}."
        )
    missing = [name for name in ("theta", "trajectory_t") if len(shapes.get(name, ())) != 1]
    if missing:
        raise StorageError(
            f"{file} is damaged: {missing[0]} is missing or no vector. Restore or recompute it."
        )
    (P,) = shapes["theta"]
    (T,) = shapes["trajectory_t"]
    needed: Shapes = {"theta0": (P,), "theta_flow": (P,), "trajectory_theta": (T, P)}
    if metadata["format"] == _SHORT_FORMAT:
        needed = _short_shapes(file, needed, shapes, P, T)
    needed |= {"trajectory_loss": (T,), "trajectory_gradient_norm": (T,)}
    if metadata.get("limit") is not None:
        needed["limit_coordinates"] = (P,)
    for name, shape in needed.items():
        found = shapes.get(name)
        if found != shape:
            name = name.replace("trajectory_", "trajectory ")
            raise StorageError(f"{file} is damaged: {name} has shape {found}; {shape} is needed.")
    for name, shape in shapes.items():
        if name.startswith(_OBSERVABLE) and shape[:1] != (T,):
            name = name.removeprefix(_OBSERVABLE)
            raise StorageError(
                f"{file} is damaged: observable {name!r} has shape {shape}, not ({T}, ...)."
            )


def _short_shapes(file: str, needed: Shapes, shapes: Shapes, P: int, T: int) -> Shapes:
    """Shapes that the file of a run in few inputs must have."""
    basis = shapes.get("rotation_basis", ())
    short = shapes.get("rotation_start", ())
    if len(basis) == 2 and len(short) == 1 and basis[0] > basis[1]:
        D, n = basis
        K, left = divmod(P - short[0], D - n)
        if not left and 0 < K * D <= P:
            others = {name: shape for name, shape in needed.items() if name != "trajectory_theta"}
            return {**others, "trajectory_short": (T, short[0])}
    raise StorageError(
        f"{file} is damaged: rotation basis has shape {basis} and rotation start {short}, which "
        f"do not fit to {P} parameters. Restore or recompute it."
    )


def _platform() -> str:
    return (
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, numpy "
        f"{np.__version__}"
    )


def _seed(settings: dict[str, Any]) -> int | None:
    """The seed of the minibatches, the only random choice of a run; None where it has none."""
    options = settings.get("solver_options") or {}
    return None if settings.get("batch_size") is None else int(options.get("seed", 0))


def to_dataset(result: Result, net: Any = None) -> Any:
    """The work of :meth:`Result.to_xarray`."""
    xarray = package("xarray", "to_xarray", "xarray")
    track = result.trajectory
    P = len(result.theta)
    names: Any = np.arange(P) if net is None else _parameter_names(net, P)
    variables: dict[str, Any] = {
        "theta": (("t", "parameter"), track.theta),
        "loss": ("t", track.loss),
        "gradient_norm": ("t", track.gradient_norm),
        "theta_best": ("parameter", result.theta),
        "theta0": ("parameter", result.theta0),
        "theta_flow": ("parameter", result.theta_flow),
    }
    for name, values in track.observables.items():
        key = name if name not in variables else f"observable_{name}"
        variables[key] = (("t", *(f"{key}_{axis}" for axis in range(values.ndim - 1))), values)
    attributes = {
        "final_loss": result.loss,
        "final_gradient_norm": result.gradient_norm,
        "status": result.status.name,
        "infflow_version": result.version,
        "platform": result.platform,
        "settings": json.dumps(plain(result.settings)),
    }
    return xarray.Dataset(variables, coords={"t": track.t, "parameter": names}, attrs=attributes)


def _parameter_names(net: Any, num_params: int) -> list[str]:
    layout = getattr(net, "layout", None)
    if layout is None or layout.num_params != num_params:
        raise ShapeError(
            f"net is {shown(net)}; a Net or NetI with {counted(num_params, 'parameter')} is needed."
        )
    names: list[str] = []
    for number, block in enumerate(layout.blocks, start=1):
        names += [f"W{number}[{i},{j}]" for i in range(block.width) for j in range(block.fan_in)]
        names += [f"b{number}[{i}]" for i in range(block.width)] * block.bias
    return names


@public
def trajectory_distance(a: Any, b: Any) -> float:
    r"""Mean squared distance of the points of one trajectory to the nearest points of another.

    :math:`d = \tfrac{1}{T_a} \sum_i \min_j |\theta_b(t_j) - \theta_a(t_i)|^2`, the :math:`d_m` of
    Brea et al. (Figure 1) with the trajectory of method m as ``a`` and a densely sampled reference
    as ``b``. It is not symmetric.

    Parameters
    ----------
    a, b : Result, Trajectory or (T, P) array
        With equal P.

    Returns
    -------
    float
        The distance; times do not enter.

    See Also
    --------
    train : makes trajectories.
    solution_distance : of end points, as functions.

    Examples
    --------
    >>> import numpy as np
    >>> import infflow as inf
    >>> inf.trajectory_distance(np.zeros((3, 2)), np.ones((5, 2)))
    2.0
    """
    first = _points("a", a)
    second = _points("b", b)
    if first.shape[1] != second.shape[1]:
        raise ShapeError(
            f"a has {counted(first.shape[1], 'parameter')} and b has {second.shape[1]}; they "
            "must agree."
        )
    # differences, not |x|^2 - 2 x.y + |y|^2, which loses small distances to rounding
    return float(np.mean([((second - point) ** 2).sum(axis=1).min() for point in first]))


def _points(name: str, value: Any) -> Array:
    if isinstance(value, Result):
        value = value.trajectory
    if isinstance(value, Trajectory):
        value = value.reached().theta
    array = as_real_array(name, value, ndim=2)
    if not array.size:
        raise InvalidTypeError(f"{name} has no points; a trajectory with at least one is needed.")
    return array
