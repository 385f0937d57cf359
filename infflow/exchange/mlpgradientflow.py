"""Results of other packages, read without running any code that a file may bring."""

from __future__ import annotations

import collections
import io
import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array, as_items, as_number, as_real_array, counted, public
from ..errors import InfflowError, MissingPackageError, ShapeError, StorageError
from ..flow import Trajectory
from ..networks.finite.net import Net
from ..networks.functions import gradient, loss
from ..objective import Objective
from ..result import Result
from ..stopping import Statistics, StopReason
from ..storage import as_path

#: What the files of ``torch.save`` before version 1.6, and those of Pickle.jl, begin with.
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
#: names that Julia prints for functions that go by other names here
_ACTIVATIONS = {"sigmoid_fast": "sigmoid", "tanh_fast": "tanh", "softmax": "identity"}
_REASONS = {
    "maxtime": StopReason.MAX_TIME,
    "maxiter": StopReason.MAX_STEPS,
    "maxeval": StopReason.MAX_STEPS,
    "patience": StopReason.PATIENCE,
    "minloss": StopReason.MIN_LOSS,
    "gnorm": StopReason.MIN_GRADIENT_NORM,
    "gradnorm": StopReason.MIN_GRADIENT_NORM,
    "line search": StopReason.LINE_SEARCH,
    "converged": StopReason.ROUNDING_FLOOR,
}


@public
def read_mlpgradientflow(
    path: Any, *, layers: Any = None, net: Objective | None = None, time_scale: float = 1.0
) -> Result:
    """A result of MLPGradientFlow.jl, as its function ``pickle(filename, result)`` writes it, as a :class:`Result`.

    Its weight matrices hold biases in a last column and are called ``w1``, ``w2``, ...; here they become one vector ``theta`` in the
    order of :meth:`infflow.Net.pack`. Losses are the same (mean over samples, sum over outputs). Its last point of the
    trajectory, the end of the optimizer one unit of time after the flow, is left out of ``trajectory``, which holds the flow.

    The file is read without running code from it, and without PyTorch. Files that PyTorch itself has written since
    (``torch.save``) are zip archives; they need PyTorch and are read with ``weights_only=True``.

    Parameters
    ----------
    path : str or path-like
    layers : list of (int, activation, bool), optional
        The layers as for :class:`infflow.Net`, where the file has no ``layerspec`` or other names of activations.
    net : Net or NetI, optional
        The network, for the gradient norms along the flow, which the file does not hold. Without it they are computed if the
        file holds ``input`` and ``target``; otherwise they are NaN, and the note in ``result.flow`` says so.
    time_scale : float
        Factor of the times. Its flow of a ``Net`` follows the gradient of the sum over N samples, unless it was run with
        ``tauinv = 1/N``: give N to get the time of the mean, as used here. Flows of its ``NetI`` need no factor. The
        times of its ``Descent`` count steps: give the step size.

    Returns
    -------
    Result
        ``settings["layers"]`` and ``settings["input_dim"]`` make the network: ``inf.Net(settings["layers"], settings["input_dim"])``.

    Raises
    ------
    StorageError
        If the file is missing, damaged, holds anything but plain data, or lacks ``x`` or ``init``; the message names it.
    MissingPackageError
        For a zip archive without PyTorch.

    Notes
    -----
    Written from the sources of MLPGradientFlow.jl (0.1 to 0.3: ``result2dict``, ``params``, ``train``) and of Pickle.jl
    (``Torch.THsave``), and tested with files that follow these sources and with files from ``torch.save`` in the same format. It has **not** been
    tried on a file that Julia has written. Networks with ``NetI`` of versions before 0.3 may be stored transposed; these are refused.
    """
    file = as_path("path", path)
    if layers is not None:
        layers = as_items("layers", layers, "a list of (width, activation, bias)")
    scale = as_number("time_scale", time_scale, minimum=0.0, strict=True)
    found = _read(file)
    try:
        return _convert(file, found, layers, net, scale)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        if isinstance(error, InfflowError):
            raise
        raise StorageError(f"{file} is not a result of MLPGradientFlow.jl: {error!r} is missing or wrong.") from error


# --------------------------------------------------------------------------------------------------------- conversion


class _Layer(NamedTuple):
    width: int
    activation: Any
    bias: bool
    fan_in: int


def _convert(file: Path, found: Mapping[str, Any], layers: Any, net: Any, time_scale: float) -> Result:
    for key in ("x", "init", "loss"):
        if key not in found:
            raise StorageError(
                f"{file} has no entry {key!r}; a result with 'x', 'init' and 'loss' is needed (it has {', '.join(sorted(map(str, found)))})."
            )
    shape = _layers(file, found, layers)
    theta, theta0 = _theta(file, found["x"], shape), _theta(file, found["init"], shape)
    track = _track(file, found, shape, time_scale)
    end = track.theta[-1] if len(track) else theta0
    theta_flow = _theta(file, found["ode_x"], shape) if "ode_x" in found else end
    flow, newton = _statistics(found)
    flow.t = float(track.t[-1]) if len(track) else 0.0
    objective = _network(found, shape) if net is None else net
    if objective is not None:
        note = _add_gradients(file, track, objective, theta, float(found["loss"]), given=net is not None)
    else:
        note = "gradient norms along the flow are not in the file and are NaN; pass net to compute them"
    flow.note = "; ".join(filter(None, [flow.note, note]))
    norm = float(found["gnorm"]) if "gnorm" in found else math.nan
    if objective is not None and math.isnan(norm):
        norm = float(np.abs(gradient(objective, theta)).max())
    return Result(
        theta=theta,
        loss=float(found["loss"]),
        gradient_norm=norm,
        status=newton.stop_reason if newton.stop_reason is not StopReason.SKIPPED else flow.stop_reason,
        trajectory=track,
        flow=flow,
        newton=newton,
        theta0=theta0,
        theta_flow=theta_flow,
        settings=_settings(file, found, shape, time_scale),
    )


def _layers(file: Path, found: Mapping[str, Any], layers: Any) -> list[_Layer]:
    """Widths, activations, biases and fan-ins, from ``layers`` or the file, checked against the matrices."""
    spec = found.get("layerspec") if layers is None else layers
    if spec is None:
        raise StorageError(f"{file} has no 'layerspec'; pass layers=[(width, activation, bias), ...].")
    spec = list(spec)
    if len(spec) == 3 and isinstance(spec[1], str):  # NetI of earlier versions: the hidden layer only
        spec = [tuple(spec), (1, "identity", False)]
    shapes = [np.shape(found["x"].get(f"w{number + 1}")) for number in range(len(spec))]
    if len(found["x"]) != len(spec) or any(len(shape) != 2 for shape in shapes):
        raise StorageError(f"{file} has the weights {sorted(found['x'])}; {len(spec)} matrices w1, w2, ... are needed.")
    result: list[_Layer] = []
    for number, ((width, activation, bias), shape) in enumerate(zip(spec, shapes, strict=True)):
        fan_in = shape[1] - bool(bias) if not result else result[-1].width
        if shape != (width, fan_in + bool(bias)) or fan_in < 1:
            raise StorageError(
                f"{file}: w{number + 1} has shape {shape}, which does not fit a layer of {counted(width, 'neuron')} "
                f"{'with' if bias else 'without'} bias"
                f"{' on ' + counted(fan_in, 'input') if result else ''}. Pass the right layers; transposed weights cannot be read."
            )
        name = activation.rsplit(".", 1)[-1] if isinstance(activation, str) else activation
        result.append(
            _Layer(int(width), _ACTIVATIONS.get(name, name) if isinstance(name, str) else name, bool(bias), fan_in)
        )
    return result


def _theta(file: Path, weights: Mapping[str, Any], layers: list[_Layer]) -> Array:
    """The flat vector: layer by layer, ``W`` row-major, then the biases from the last column."""
    parts = []
    for number, layer in enumerate(layers):
        name = f"w{number + 1}"
        matrix = as_real_array(name, weights[name])
        if matrix.shape != (layer.width, layer.fan_in + layer.bias):
            raise StorageError(
                f"{file} is damaged: {name} has shape {matrix.shape} in one place and another elsewhere."
            )
        parts.append(matrix[:, : layer.fan_in].ravel())
        if layer.bias:
            parts.append(matrix[:, layer.fan_in])
    return np.concatenate(parts)


def _track(file: Path, found: Mapping[str, Any], layers: list[_Layer], time_scale: float) -> Trajectory:
    P = sum(layer.width * (layer.fan_in + layer.bias) for layer in layers)
    points = list(found.get("trajectory", {}).items())
    unknown = np.full(len(points), np.nan)
    losses = np.array(found.get("loss_curve", unknown) if points else unknown, dtype=float)
    if losses.shape != (len(points),):
        raise StorageError(
            f"{file} is damaged: loss_curve has shape {losses.shape} for {counted(len(points), 'point')}."
        )
    times = np.array([t for t, _ in points], dtype=float)
    if (np.diff(times) < 0).any() or not np.isfinite(times).all():
        raise StorageError(f"{file} is damaged: the times of the trajectory do not increase.")
    # the optimizer's end is appended one unit after the end of the flow
    if (
        "optim_stopped_by" in found
        and len(points) > 1
        and np.isclose(times[-1] - times[-2], 1.0, atol=1e-9 + 4e-16 * times[-1])
    ):
        points, times, losses = points[:-1], times[:-1], losses[:-1]
    theta = np.array([_theta(file, weights, layers) for _, weights in points]).reshape(len(points), P)
    return Trajectory(times * time_scale, theta, losses, np.full(len(points), np.nan))


def _statistics(found: Mapping[str, Any]) -> tuple[Statistics, Statistics]:
    """What the file tells of the two stages; counts that it does not hold are 0 or None."""
    stages = []
    for stage, name in (("ode", "flow"), ("optim", "search")):
        text = found.get(f"{stage}_stopped_by")
        reason = StopReason.SKIPPED if text is None else _reason(str(text), stage)
        note = "" if not text else f"MLPGradientFlow.jl: {text}"
        steps, seconds = int(found.get(f"{stage}_iterations", 0)), float(found.get(f"{stage}_time_run", 0.0))
        stages.append(Statistics(f"{name} of MLPGradientFlow.jl", steps, None, 0, 0, 0, None, seconds, reason, note))
    return stages[0], stages[1]


def _reason(text: str, stage: str) -> StopReason:
    if not text and stage == "ode":
        return StopReason.T_END
    return next((reason for word, reason in _REASONS.items() if word in text.lower()), StopReason.SOLVER_FAILED)


def _network(found: Mapping[str, Any], layers: list[_Layer]) -> Net | None:
    """The network with its data, if the file holds them."""
    if "input" not in found or "target" not in found:
        return None
    X = np.asarray(found["input"], dtype=float).T
    if layers[0].bias and X.shape[1] == layers[0].fan_in + 1:  # a row of ones for the biases
        X = X[:, :-1]
    spec: Any = found.get("layerspec") or ()
    softmax = bool(spec) and not isinstance(spec[-1], (str, bool)) and str(spec[-1][1]).endswith("softmax")
    target = np.asarray(found["target"])
    if softmax:
        target = target.argmax(axis=0) if target.ndim == 2 else target - 1  # Julia counts from 1
    elif target.ndim == 2:
        target = target.T
    try:
        return Net(
            [(layer.width, layer.activation, layer.bias) for layer in layers],
            input=X,
            target=target,
            weights=None if found.get("weights") is None else np.ravel(found["weights"]),
            loss="cross_entropy" if softmax else "mse",
        )
    except InfflowError:  # an activation that is not known here
        return None


def _add_gradients(file: Path, track: Trajectory, net: Objective, theta: Array, expected: float, *, given: bool) -> str:
    """Fill in gradient norms (and losses, if missing), once the loss in the end agrees; a note if it does not."""
    if net.num_params != len(theta):
        raise ShapeError(f"net has {counted(net.num_params, 'parameter')}, the result in {file} has {len(theta)}.")
    value = loss(net, theta)
    # theirs is summed in another order, and near zero by another formula
    if not math.isclose(value, expected, rel_tol=1e-6, abs_tol=1e-12):
        if given:
            raise StorageError(
                f"the loss of net at the solution in {file} is {value:.9g}, the file says {expected:.9g}."
            )
        return (
            f"the loss of the network rebuilt from the file is {value:.9g} and not {expected:.9g}, "
            "so gradient norms along the flow are NaN; pass net to compute them"
        )
    for k, point in enumerate(track.theta):
        track.gradient_norm[k] = np.abs(gradient(net, point)).max()
        if np.isnan(track.loss[k]):
            track.loss[k] = loss(net, point)
    return ""


def _settings(file: Path, found: Mapping[str, Any], layers: list[_Layer], time_scale: float) -> dict[str, Any]:
    names = [getattr(layer.activation, "name", layer.activation) for layer in layers]
    kept = ("ode_stopped_by", "optim_stopped_by", "ode_loss", "gnorm_regularized", "converged", "total_time")
    return {
        "source": f"MLPGradientFlow.jl, {file.name}",
        "layers": [[layer.width, name, layer.bias] for layer, name in zip(layers, names, strict=True)],
        "input_dim": layers[0].fan_in,
        "time_scale": time_scale,
        **{key: found[key] for key in kept if isinstance(found.get(key), (str, int, float))},
    }


# ------------------------------------------------------------------------------------------------------------ reading


def _read(file: Path) -> dict[str, Any]:
    """The dictionary in a file of ``torch.save`` with arrays for tensors."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise StorageError(f"{file} does not exist. Check the name.") from None
    except OSError as error:
        raise StorageError(f"{file} cannot be read: {error}.") from error
    found = _read_zip(file) if content[:2] == b"PK" else _read_legacy(file, content)
    if not isinstance(found, dict):
        raise StorageError(f"{file} holds a {type(found).__name__}; a dictionary of results is needed.")
    return found


def _read_zip(file: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingPackageError(
            f"{file} is a zip archive of PyTorch, which is needed to read it: pip install torch."
        ) from error

    def plain(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.detach().numpy()
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        return type(value)(plain(each) for each in value) if type(value) in (list, tuple) else value

    try:
        return plain(torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:  # whatever PyTorch raises for damaged or unsafe files
        raise StorageError(f"{file} cannot be read by PyTorch with weights_only=True: {error}") from error


class _Storage(NamedTuple):
    key: str
    dtype: str
    size: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Rebuild:
    """Stands for ``torch._utils._rebuild_tensor_v2``: only notes what is asked for; has no attributes to be tampered with."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
        return _Tensor(storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
    """Knows tensors and ordered dictionaries, and nothing else that could be called."""

    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"  # Pickle.jl has split torch._utils._rebuild_tensor_v2 after the first dot
        if path == "collections.OrderedDict":
            return collections.OrderedDict
        if path == "torch._utils._rebuild_tensor_v2":
            return _Rebuild()
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"it refers to {path}, which is not data")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, size, *_ = pid
        if kind != "storage" or dtype not in _STORAGES.values():
            raise pickle.UnpicklingError(f"it has an object of unknown kind {kind!r}")
        return _Storage(str(key), dtype, int(size))


def _read_legacy(file: Path, content: bytes) -> Any:
    """Five pickles (mark, version, sizes, the object, keys of storages), then the storages."""
    stream = io.BytesIO(content)
    try:
        if _Unpickler(stream).load() != _MAGIC or _Unpickler(stream).load() != _PROTOCOL:
            raise pickle.UnpicklingError("the mark of torch.save is missing")
        sizes = _Unpickler(stream).load()
        if not sizes["little_endian"]:
            raise pickle.UnpicklingError("its numbers are big-endian")
        found = _Unpickler(stream).load()
        keys = _Unpickler(stream).load()
        return _resolve(found, _read_storages(stream, content, found, keys))
    except (pickle.PickleError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise StorageError(f"{file} is damaged or was not written by MLPGradientFlow.jl: {error}.") from error
    except (RecursionError, MemoryError) as error:
        raise StorageError(f"{file} is damaged: its content is nested without end or larger than memory.") from error


def _read_storages(stream: io.BytesIO, content: bytes, found: Any, keys: Any) -> dict[str, Array]:
    declared: dict[str, _Storage] = {}
    _collect(found, declared)
    storages = {}
    for key in map(str, keys):
        size = int.from_bytes(stream.read(8), "little", signed=True)
        storage = declared[key]
        dtype = np.dtype(storage.dtype)
        if size != storage.size or size * dtype.itemsize > len(content) - stream.tell():
            raise ValueError(f"storage {key} does not have its {storage.size} numbers")
        storages[key] = np.frombuffer(stream.read(size * dtype.itemsize), dtype)
    return storages


def _collect(value: Any, storages: dict[str, _Storage]) -> None:
    if isinstance(value, _Tensor):
        storages[value.storage.key] = value.storage
    elif isinstance(value, dict):
        for each in dict.values(value):
            _collect(each, storages)
    elif isinstance(value, (list, tuple)):
        for each in value:
            _collect(each, storages)


def _resolve(value: Any, storages: dict[str, Array]) -> Any:
    """Arrays for tensors, which Julia writes with column-major strides."""
    if isinstance(value, _Tensor):
        data = storages[value.storage.key]
        shape, strides = tuple(map(int, value.shape)), tuple(map(int, value.strides))
        last = value.offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if min((*shape, *strides, value.offset), default=0) < 0 or math.prod(shape) > len(data):
            raise ValueError("a tensor does not fit its storage")
        if not math.prod(shape):
            return np.zeros(shape, data.dtype)
        if last >= len(data):
            raise ValueError("a tensor does not fit its storage")
        steps = [s * data.itemsize for s in strides]
        return np.lib.stride_tricks.as_strided(data[value.offset :], shape, steps).copy()
    if isinstance(value, dict):
        return {key: _resolve(each, storages) for key, each in dict.items(value)}
    return type(value)(_resolve(each, storages) for each in value) if type(value) in (list, tuple) else value
