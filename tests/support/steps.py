"""Single protocol steps, run by all parties of a session in memory, and inputs for them."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st

from mpc.session.access import AccessStructure
from mpc.session.channel import Channel, Step
from mpc.session.in_memory import run_parties
from mpc.session.session import Session

Result = TypeVar("Result")
PartyStep = Callable[[Channel, int], Awaitable[Result]]
"""What a party does in a step, given its channel and its number."""

STRUCTURES = [(3, 1), (4, 1), (5, 2)]
"""Numbers of parties, and how many of them may collude."""
EXAMPLES = settings(max_examples=12)
"""For steps that are run once per example."""


def run_step(access: AccessStructure, step: PartyStep[Result]) -> list[Result]:
    """Run a step in a session of its own; return results by party."""

    async def program(session: Session) -> Result:
        with session.step(Step.CHECK, "step") as channel:
            return await step(channel, session.pid)

    return run_parties(access.n_parties, access.threshold, program)


def words(width: int, n_max: int = 150) -> st.SearchStrategy[list[int]]:
    """Return lists of numbers of `width` bits, the edges of their range among them."""
    top = (1 << width) - 1
    edge = st.sampled_from([0, 1, top, top // 2, top // 2 + 1])
    return st.lists(st.integers(0, top) | edge, min_size=1, max_size=n_max)
