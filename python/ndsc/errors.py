"""Exceptions of ndsc.

Every message has three parts: what failed, why (with the values), and what to do about it. Bad input and our own
bugs are different things: the first is an :class:`InputError`, the second an :class:`InternalError`.
"""

from __future__ import annotations


class NdscError(Exception):
    """Anything that ndsc raises on purpose."""


class InputError(NdscError, ValueError):
    """The input is wrong or asks for what cannot be done; the message says what to change."""


class IntegerOverflowError(InputError, OverflowError):
    """The exact integer arithmetic of the core would have overflowed; the request is too large."""


class MissingExtraError(NdscError, ImportError):
    """A feature needs an optional dependency that is not installed; the message names the extra to install."""


class ReferenceCalculationError(NdscError):
    """A reference calculation failed, did not converge, or gave a result that cannot be used."""


class MissingLabelsError(ReferenceCalculationError):
    """Labels are missing that are computed elsewhere: ``ndsc labels write`` writes their input."""


class FitError(NdscError):
    """The fit failed, used less data than it was given, or made a potential that is not finite."""


class InternalError(NdscError):
    """A bug in ndsc itself; the message asks for a report."""
