"""A configuration: read, checked, and turned into a network, a start and the arguments of
``train``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..._validation import Array, shown
from ...errors import InfflowError, InvalidTypeError, InvalidValueError, StorageError
from ...fixedpoints import OPTIMIZERS
from ...flow import SOLVERS
from ...networks.finite.losses import resolve_loss
from ...networks.finite.net import Net
from ...networks.infinite.neti import NetI
from ...networks.inputs import Gaussian, GaussianMixture
from ...networks.parameters import random_params
from ...networks.regularization import Regularization
from ...networks.teacher import Teacher
from ...options import Check, integer
from ...result import Result
from ...storage import as_path, read_arrays
from ...training import train
from .sections import (
    SECTIONS,
    SEED,
    DataSettings,
    FlowSettings,
    InputSettings,
    LossSettings,
    NewtonSettings,
    OutputSettings,
    StopSettings,
    StudentSettings,
    TeacherSettings,
)
from .toml_file import Problems, TomlFile, toml_value


@dataclass(frozen=True)
class Configuration:
    """A checked configuration; see :func:`example_configuration` for all settings."""

    seed: int
    student: StudentSettings
    teacher: TeacherSettings | None
    input: InputSettings
    data: DataSettings
    loss: LossSettings
    flow: FlowSettings
    newton: NewtonSettings
    stop: StopSettings
    output: OutputSettings

    @classmethod
    def load(cls, path: Any) -> Configuration:
        """Read a TOML file.

        Raises
        ------
        ConfigurationError
            Lists all errors of the file with their lines.
        """
        file = TomlFile(as_path("path", path))
        return cls.from_dict(with_absolute_paths(file.data, file.path), Problems(file))

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], problems: Problems | None = None) -> Configuration:
        """Check nested dictionaries.

        Raises
        ------
        ConfigurationError
            Lists all errors.
        """
        problems = Problems("the configuration") if problems is None else problems
        if not isinstance(table, Mapping):
            raise InvalidTypeError(
                f"the configuration is {shown(table)}; a dictionary of tables is needed."
            )
        for key in table.keys() - {"seed", *SECTIONS}:
            problems.unknown((key,), ("seed", *SECTIONS))
        seed = _checked(problems, ("seed",), integer(0), table.get("seed", 0))
        sections: dict[str, Any] = {}
        for name, kind in SECTIONS.items():
            if name not in table and name == "teacher":
                sections[name] = None
            else:
                sections[name] = _read_section(kind, name, table.get(name, {}), problems)
        for stage, registry, method in (
            ("flow", SOLVERS, "solver"),
            ("newton", OPTIMIZERS, "optimizer"),
        ):
            section = sections[stage]
            _check_options(stage, registry, getattr(section, method, None), section, problems)
        if not problems:
            _check_together(cls(seed, **sections), problems)
        problems.check()
        return cls(seed, **sections)

    # --------------------------------------------------------------------------------------------
    # the network, its start and the arguments of the run

    def network(self) -> Net:
        """The student without data."""
        return self._student(self.data.loss)

    def _student(self, loss: str) -> Net:
        return _network(self.student, self.input_dim(), self.student, loss)

    def penalty(self) -> dict[str, Any]:
        """Terms added to the loss, as arguments of Net and NetI."""
        return {name: getattr(self.loss, name) for name in ("maxnorm", "ridge", "merge")}

    def input_dim(self) -> int:
        """Length of an input."""
        if self.student.input_dim is not None:
            return self.student.input_dim
        return self._file_data()["input"].shape[1]

    def problem(self) -> Net | NetI:
        """The network to train: on infinite data, samples of the teacher, or the data of a file."""
        penalty = self.penalty()
        if self.data.file is not None:
            layers = _layers(self.student, self.student)
            extra: dict[str, Any] = {
                "loss": self.data.loss,
                "parametrization": self.student.parametrization,
                **penalty,
            }
            return Net(layers, self.student.input_dim, **{**self._file_data(), **extra})
        assert self.teacher is not None
        net = _network(self.teacher, self.input_dim(), self.student)
        theta = (
            random_params(net, self.teacher.seed, self.teacher.init)
            if self.teacher.theta is None
            else self.teacher.theta
        )
        teacher = Teacher(net, theta, self.teacher.noise)
        if self.data.samples is None or (
            len(self.student.hidden) == 1 and len(self.teacher.hidden) == 1
        ):
            infinite = NetI(
                self._student("mse"),
                teacher,
                self.distribution(),
                self.loss.method,
                self.loss.rtol,
                outside=self.loss.outside,
                **penalty,
            )
            if self.data.samples is None:
                return infinite
            return infinite.sample(self.data.samples, self.data.seed).replace(loss=self.data.loss)
        rng = np.random.default_rng(self.data.seed)
        distribution = self.distribution()
        X = (
            rng.standard_normal((self.data.samples, self.input_dim()))
            if distribution is None
            else distribution.sample(self.data.samples, rng)
        )
        return self.network().replace(input=X, target=teacher.label(X, rng), **penalty)

    def distribution(self) -> Gaussian | GaussianMixture | None:
        """The distribution of the input; None is standard normal."""
        given = self.input
        if given.components is not None:
            weights, means, covs = (
                [item[key] for item in given.components] for key in ("weight", "mean", "covariance")
            )
            return GaussianMixture(weights, means, covs)
        if given.mean is None and given.covariance is None:
            return None
        dim = self.input_dim()
        return Gaussian(
            np.zeros(dim) if given.mean is None else given.mean,
            np.eye(dim) if given.covariance is None else given.covariance,
        )

    def start(self, net: Net | NetI) -> Array:
        """Parameters to start from."""
        if self.student.theta is not None:
            return np.array(self.student.theta)
        return random_params(net, self.seed, self.student.init)

    def train_arguments(self) -> dict[str, Any]:
        """Arguments of :func:`infflow.train`."""
        return {
            item.metadata["of_train"]: getattr(section, item.name)
            for section in (self.flow, self.newton, self.stop)
            for item in fields(section)
        }

    def _file_data(self) -> dict[str, Array]:
        assert self.data.file is not None
        return read_data(Path(self.data.file))


def _network(own: Any, input_dim: int, student: StudentSettings, loss: str = "mse") -> Net:
    parametrization = (
        student.parametrization if own.parametrization is None else own.parametrization
    )
    return Net(_layers(own, student), input_dim, loss=loss, parametrization=parametrization)


def _layers(own: Any, student: StudentSettings) -> list[tuple[int, Any, bool]]:
    """Layers of student or teacher; what the teacher does not say is as in the student."""
    activation, bias, output_bias = (
        getattr(student if getattr(own, name) is None else own, name)
        for name in ("activation", "bias", "output_bias")
    )
    if len(activation) == 1:
        activation = activation * len(own.hidden)
    if len(activation) != len(own.hidden):
        raise InvalidValueError(
            f"activation has {len(activation)} entries and hidden {len(own.hidden)}; one "
            "activation, or one per hidden layer, is needed."
        )
    hidden = [(width, name, bias) for width, name in zip(own.hidden, activation, strict=True)]
    return [*hidden, (student.output_dim, "identity", output_bias)]


def _read_section(kind: type, name: str, table: Any, problems: Problems) -> Any:
    if not isinstance(table, dict):
        problems.add((name,), f"{name} is {shown(table)}; a table [{name}] is needed.")
        return None
    known: dict[str, Field[Any]] = {item.name: item for item in fields(kind)}
    for key in table.keys() - known.keys():
        problems.unknown((name, key), known)
    values = {}
    for key, item in known.items():
        if key in table:
            values[key] = _checked(problems, (name, key), item.metadata["check"], table[key])
        elif item.metadata["needed"]:
            example = toml_value(item.metadata["example"])
            problems.add((name,), f"{name}.{key} is missing; it is needed, e.g. {key} = {example}.")
    return kind(**values)


def _checked(problems: Problems, keys: tuple[str, ...], check: Check, value: Any) -> Any:
    try:
        return check(".".join(keys), value)
    except InfflowError as error:
        problems.add(keys, str(error))
        return None


def _check_together(config: Configuration, problems: Problems) -> None:
    """Check settings that depend on each other."""
    if config.data.file is None:
        _check_without_file(config, problems)
    elif config.teacher is not None or config.data.samples is not None:
        problems.add(
            ("data", "file"),
            "data.file gives inputs and targets; remove [teacher] and data.samples, or data.file.",
        )
    if config.input.components is not None and (
        config.input.mean is not None or config.input.covariance is not None
    ):
        problems.add(
            ("input", "components"), "[input] has components, and mean or covariance; remove one."
        )
    if not problems:
        _check_made(config, problems)


def _check_without_file(config: Configuration, problems: Problems) -> None:
    """Check that other sections give what data.file does not."""
    needed = "is missing; it is needed unless data.file gives inputs and targets."
    if config.student.input_dim is None:
        problems.add(("student",), f"student.input_dim {needed}")
    if config.teacher is None:
        problems.add(("teacher",), f"a table [teacher] {needed}")
    loss = resolve_loss(config.data.loss)
    if loss.needs_labels:
        problems.add(
            ("data", "loss"),
            f"data.loss is {config.data.loss!r}, which needs labels from data.file.",
        )
    elif not loss.is_sum_of_squares and config.data.samples is None:
        problems.add(
            ("data", "loss"),
            f"data.loss is {config.data.loss!r}, which needs data.samples or data.file; "
            "infinite data have the squared error, 'mse'.",
        )


def _check_made(config: Configuration, problems: Problems) -> None:
    """Make all parts of the problem; errors become those of their sections."""

    def teacher() -> None:
        if config.teacher is not None:
            _network(config.teacher, config.input_dim(), config.student)

    parts: dict[str, Callable[[], object]] = {
        "data": config.input_dim,
        "student": config.network,
        "input": config.distribution,
        "teacher": teacher,
    }
    for section, make in parts.items():
        try:
            make()
        except InfflowError as error:
            problems.add((section,), f"[{section}]: {error}")
            if section == "data":
                return
    if problems:
        return
    try:
        Regularization.from_arguments(**config.penalty(), layout=config.network().layout)
    except InfflowError as error:
        problems.add(("loss", "merge"), f"[loss]: {error}")


def _check_options(
    stage: str, registry: Mapping[str, Any], name: str | None, section: Any, problems: Problems
) -> None:
    """The options of a solver or optimizer, if its name is known."""
    options = None if section is None else section.options
    if options is None or name is None:
        return
    if name == "auto":
        problems.add(
            (stage, "options"),
            f"{stage}.options is for a method that is named; {stage} takes 'auto'.",
        )
        return
    for key, value in options.items():
        try:
            registry[name].check_options({key: value})
        except InfflowError as error:
            problems.add((stage, "options", key), f"{stage}.options: {error}")


def read_data(path: Path) -> dict[str, Array]:
    """``input``, ``target`` and perhaps ``weights`` of a Net, from an ``.npz`` with X, y and
    weights.

    Raises
    ------
    StorageError
        If the file does not exist, is no ``.npz``, or has other arrays.
    """

    def check(shapes: Mapping[str, tuple[int, ...]]) -> None:
        if not {"X", "y"} <= shapes.keys() <= {"X", "y", "weights"}:
            raise StorageError(
                f"{path} holds {', '.join(shapes) or 'nothing'}; arrays X, y and perhaps weights "
                "are needed."
            )

    try:
        arrays = read_arrays(path, check)
    except FileNotFoundError:
        raise StorageError(
            f"{path} does not exist. Check data.file; it is relative to the configuration file."
        ) from None
    except StorageError:
        raise
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path} cannot be read: {error}. An .npz with arrays X and y is needed."
        ) from error
    names = {"X": "input", "y": "target", "weights": "weights"}
    return {names[name]: array for name, array in arrays.items()}


# -------------------------------------------------------------------------------------------------
# changes and sweeps


def with_absolute_paths(table: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The same with ``data.file`` relative to the configuration file made absolute."""
    found = copy.deepcopy(dict(table))
    data = found.get("data")
    if isinstance(data, dict) and isinstance(data.get("file"), str):
        data["file"] = str((file.parent / Path(data["file"]).expanduser()).absolute())
    return found


def with_changes(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The same with values at dotted keys replaced.

    Raises
    ------
    InvalidValueError
        If a key leads through a value that is no table.
    """
    if not isinstance(table, Mapping):
        raise InvalidTypeError(
            f"the configuration is {shown(table)}; a dictionary of tables is needed."
        )
    changed = copy.deepcopy(dict(table))
    for key, value in changes.items():
        inner: Any = changed
        *outer, last = key.split(".")
        for name in outer:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise InvalidValueError(
                    f"{key} cannot be set: {name} is {shown(inner)}, not a table."
                )
        inner[last] = value
    return changed


def train_configuration(*, config: Mapping[str, Any], **changes: Any) -> Result:
    """Train what a configuration describes, with values at dotted keys replaced: the function of
    ``infflow sweep``.
    """
    configuration = Configuration.from_dict(with_changes(config, changes))
    net = configuration.problem()
    return train(net, configuration.start(net), progress=False, **configuration.train_arguments())


# --------------------------------------------------------------------------------------------------
# the example


def example_configuration() -> str:
    """A commented configuration file with all settings; those that are commented out are off by
    default.
    """
    lines = [
        "# A configuration of infflow: infflow train CONFIG.toml",
        (
            "# Every value below is the default, except those of the networks; what is commented "
            "out is off."
        ),
        "",
        f"seed = 0  # {SEED}",
    ]
    for name, kind in SECTIONS.items():
        lines += ["", f"# {' '.join((kind.__doc__ or '').split())}", f"[{name}]"]
        for item in fields(kind):
            off = item.default is None and not (
                item.metadata["needed"] or (name, item.name) == ("student", "input_dim")
            )
            lines.append(
                f"{'# ' * off}{item.name} = {toml_value(item.metadata['example'])}  # "
                f"{item.metadata['sentence']}"
            )
    return "\n".join(lines) + "\n"
