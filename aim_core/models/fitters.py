"""The choice of what fits models: the project's own descent, or mbi's."""

from aim_core.errors import MechanismError
from aim_core.models.descent import MirrorDescent
from aim_core.models.measurement import Fitter


def make_fitter(name: str) -> Fitter:
    """Return the fitter "numpy" (ours) or "mbi" (the reference); MechanismError for others.

    Only the reference loads mbi and jax; MissingExtra where they are not installed.
    """
    if name == "numpy":
        return MirrorDescent()
    if name == "mbi":
        from aim_core.models.mbi_bridge import MbiFitter, load_mbi

        load_mbi()  # a run should not get to its first fit to hear that it is not there
        return MbiFitter()
    raise MechanismError(f"there is no estimator {name!r}; choose 'numpy' or 'mbi'")
