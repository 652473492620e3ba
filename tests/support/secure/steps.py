"""Examples for steps that all parties of a session run."""

from hypothesis import settings
from hypothesis import strategies as st

EXAMPLES = settings(max_examples=12)
"""As every example is a session of its own."""


def words(width: int, n_max: int = 150) -> st.SearchStrategy[list[int]]:
    """Return lists of numbers of `width` bits, the edges of their range among them."""
    top = (1 << width) - 1
    edge = st.sampled_from([0, 1, top, top // 2, top // 2 + 1])
    return st.lists(st.integers(0, top) | edge, min_size=1, max_size=n_max)
