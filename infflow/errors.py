"""Every error and warning a user of infflow can meet.

A bad argument raises a subclass of :class:`InfflowError` that is also a ``ValueError`` or a
``TypeError``. Its message says what was given, what is needed and what to do.
"""

from __future__ import annotations


class InfflowError(Exception):
    """Base class of all errors raised on purpose by infflow."""


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
    """A Gaussian moment or derivative is infinite at the given point."""


class MethodError(InvalidValueError):
    """A method was asked for that is not defined for the given activations."""


class DivergedError(InvalidValueError):
    """A computation left the domain where its result is finite."""


class OutsideDomainError(DivergedError):
    """A point lies outside of the domain of a surrogate; the message names the pair of neurons."""


class StorageError(InvalidValueError):
    """A file is missing, damaged, or was written by something else."""


class AccuracyWarning(UserWarning):
    """A result was returned whose error bound does not meet the requested tolerance."""


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
