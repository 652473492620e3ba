"""Errors of the mechanism's side. Texts say what happened, why, and what to do."""

from typing import ClassVar


class AimError(Exception):
    """Root of all errors that aim_core raises on purpose; each is made from its text alone.

    `exit_code` is what a program exits with (the meanings: docs/deploying.md, Troubleshooting).
    `party` and `round` are set where a compute party met the error, None elsewhere.
    """

    exit_code: ClassVar[int] = 2
    party: int | None = None
    round: int | None = None


class SchemaError(AimError):
    """The schema cannot be read, or it contradicts itself."""


class TableError(AimError):
    """The table cannot be read, or its values do not fit the schema."""


class WorkloadError(AimError):
    """A clique or a workload does not fit the domain."""


class DomainTooLarge(AimError):
    """The marginals or the model would need more cells than the run allows."""


class BudgetExceeded(AimError):
    """A request costs more privacy budget than is left."""

    exit_code = 3


class MechanismError(AimError):
    """The mechanism got parameters or answers that it cannot work with."""


class MissingExtra(AimError):
    """A package is not installed that only what was asked for needs."""
