"""What the tests of steps share: the structures in which every step is run."""

import pytest

from mpc.session.access import AccessStructure
from tests.support.steps import STRUCTURES


@pytest.fixture(params=STRUCTURES, ids=lambda mt: f"m{mt[0]}t{mt[1]}")
def access(request: pytest.FixtureRequest) -> AccessStructure:
    """Return each of the access structures in turn."""
    return AccessStructure(*request.param)
