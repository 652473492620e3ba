"""The choice of what fits models: the project's own descent, or mbi's."""

from enum import StrEnum
from typing import TYPE_CHECKING

from aim_core.errors import MechanismError

if TYPE_CHECKING:
    from aim_core.models.measurement import Fitter


class FitterKind(StrEnum):
    """Which program fits the model: `distaim run --estimator`, and the estimator's config."""

    NUMPY = "numpy"
    MBI = "mbi"


def make_fitter(name: str) -> "Fitter":
    """Return the fitter of a `FitterKind`; MechanismError for other names.

    What a fitter needs is loaded here: NumPy by ours, mbi and jax by the reference, MissingExtra
    where they are not installed.
    """
    match name:
        case FitterKind.NUMPY:
            from aim_core.models.descent import MirrorDescent

            return MirrorDescent()
        case FitterKind.MBI:
            from aim_core.models.mbi_bridge import MbiFitter, load_mbi

            load_mbi()  # a run should not get to its first fit to hear that it is not there
            return MbiFitter()
    raise MechanismError(f"there is no estimator {name!r}; choose 'numpy' or 'mbi'")
