"""What the tests of steps share: the structures in which every step is run."""

import pytest

from tests.support.secure.sessions import STRUCTURES


@pytest.fixture(params=STRUCTURES, ids=lambda mt: f"m{mt[0]}t{mt[1]}")
def mt(request: pytest.FixtureRequest) -> tuple[int, int]:
    """Return each number of parties and threshold in turn."""
    n_parties, threshold = request.param
    return n_parties, threshold
