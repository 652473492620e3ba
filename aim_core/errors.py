"""Errors of the mechanism's side. Texts say what happened, why, and what to do."""


class AimError(Exception):
    """Root of all errors that aim_core raises on purpose."""


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


class MechanismError(AimError):
    """The mechanism got parameters or answers that it cannot work with."""


class MissingExtra(AimError):
    """A package is not installed that only what was asked for needs."""
