"""DistAIM from Python: draft a schema, run AIM on a DataFrame, sample a saved model, compare.

A thin face over `aim_core` and `parties`. It prints nothing unless asked to, takes no signals, and
runs in any thread.
"""

from distaim.model import Model
from distaim.running import Result, run
from distaim.schema import Schema
from parties.wire.failures import FAILURES

ERRORS = FAILURES
"""What is raised on purpose, to be caught."""

__all__ = ["ERRORS", "Model", "Result", "Schema", "run"]
