"""Order parameters along online learning: ``OnlineResult``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._validation import Array, counted
from . import record
from .integration import OnlineStop
from .state import OrderState


@dataclass(eq=False)
class OnlineResult:
    r"""Order parameters along online learning, from the equations or from a simulation.

    Attributes
    ----------
    t : (T,) array
        Steps over input dimension (the alpha of Saad and Solla).
    Q, R, v : (T, K, K), (T, K, M), (T, O, K) arrays
        Covariances of the students' pre-activations, and with those of the teacher (for a
        polynomial: with its directions), and the second layer. For standard normal input these
        covariances are overlaps of weights.
    T : (M, M) array
        Covariance of the teacher's pre-activations, constant.
    generalization_error : (T,) array
        :math:`\E\,|\text{student} - \text{teacher}|^2` without label noise and without a factor
        1/2; at least its rounding error.
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
    Q_groups, R_groups : (T, G, K, K), (T, G, K, M) arrays
        Overlaps of weights within each group of eigenvalues of the input; Q and R are their sums
        with the eigenvalues as weights.
    output_errors : (T, O) array
        The generalization error of each output.
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
    Q_groups: Array = field(default_factory=lambda: np.empty((0, 1, 0, 0)))
    R_groups: Array = field(default_factory=lambda: np.empty((0, 1, 0, 0)))
    output_errors: Array = field(default_factory=lambda: np.empty((0, 0)))

    def state(self, index: int = -1) -> OrderState:
        """Q, R and v at one of the kept points, the last by default; with an axis of groups where
        there are several.
        """
        if self.Q_groups.shape[1] > 1:
            return OrderState(self.Q_groups[index], self.R_groups[index], self.v[index])
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
            Made with a figure of pyplot if not given.

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
