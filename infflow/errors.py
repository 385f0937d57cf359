"""Every error and warning a user of infflow can meet.

A bad argument raises a subclass of :class:`InfflowError` that is also a ``ValueError`` or a
``TypeError``. Its message says what was given, what is needed and what to do.
"""

from __future__ import annotations


class InfflowError(Exception):
    """Base class of all errors raised on purpose by infflow.

    See Also
    --------
    AccuracyWarning : where a bound is missed.

    Examples
    --------
    >>> import infflow as inf
    >>> try:
    ...     inf.gaussian_moment("tahn", "relu", 1.0, 1.0, 0.5)
    ... except inf.InfflowError as error:
    ...     print(str(error).partition(".")[0])
    activation 'tahn' is not known
    """


class InvalidValueError(InfflowError, ValueError):
    """An argument has the right type but a value that cannot be used."""


class InvalidTypeError(InfflowError, TypeError):
    """An argument has a type that cannot be used."""


class ShapeError(InvalidValueError):
    """An array has the wrong shape."""


class UnknownNameError(InvalidValueError):
    """A name (activation, solver, optimizer, ...) is not known; the message suggests
    the nearest.
    """


class TooLargeError(InvalidValueError):
    """A result would not fit in memory; the message names the matrix-free alternative."""


class SingularMomentError(InvalidValueError):
    """A Gaussian moment or derivative is infinite at the given point.

    See Also
    --------
    gaussian_moment : raises it.

    Examples
    --------
    >>> import infflow as inf
    >>> try:
    ...     inf.gaussian_moment("step", "step", 1.0, 1.0, 1.0, orders=(1, 1))
    ... except inf.SingularMomentError:
    ...     print("infinite")
    infinite
    """


class MethodError(InvalidValueError):
    """A method was asked for that is not defined for the given activations."""


class DivergedError(InvalidValueError):
    """A computation left the domain where its result is finite."""


class OutsideDomainError(DivergedError):
    """A point lies outside of the domain of a surrogate; the message names the pair of neurons."""


class StorageError(InvalidValueError):
    """A file is missing, damaged, or was written by something else."""


class AccuracyWarning(UserWarning):
    """A result was returned whose error bound does not meet the requested tolerance.

    See Also
    --------
    gaussian_moment : asks for ``rtol``.

    Examples
    --------
    >>> import warnings
    >>> import infflow as inf
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", inf.AccuracyWarning)
    ...     try:
    ...         inf.gaussian_moment("tanh", "tanh", 9.0, 9.0, 0.999999, method="hermite")
    ...     except inf.AccuracyWarning:
    ...         print("the bound of the series misses rtol")
    the bound of the series misses rtol
    """


class TableauError(InvalidValueError):
    """The coefficients of an integrator violate an order condition or another property
    it claims.
    """


class SolverFailedError(InfflowError, RuntimeError):
    """An integrator could not take a step; ``train`` turns it into a status or falls back to
    another one.
    """


class SolverWarning(UserWarning):
    """A run went on with another method than the one that was asked for."""


class IncompleteWarning(UserWarning):
    """A part of a result could not be evaluated and is NaN; the message says which and where."""


class MissingPackageError(InfflowError, ImportError):
    """An optional package is needed; the message says how to install it."""


class ConfigurationError(InvalidValueError):
    """A configuration file cannot be used; the message lists all of its errors with their lines."""


class ClusterError(InfflowError, RuntimeError):
    """The machines that execute the runs of a sweep cannot be reached any more."""
