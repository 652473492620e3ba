"""Input checks: only counts of one table pass, whatever a holder shares."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from mpc.arrays import Integers
from mpc.session.access import AccessStructure
from mpc.session.channel import Channel
from mpc.shares.replicated import ring
from mpc.steps.input_check import inputs_are_valid
from tests.support.secure.sessions import STRUCTURES, deal, run_step

RING_BITS, COUNT_BITS, N_MAX = 12, 10, 1000
SIZES = [1, 5, 64, 700]


def verdicts(
    mt: tuple[int, int], cells: Integers, differences: ArrayLike = (0, 0), n_max: int = N_MAX
) -> set[bool]:
    access, modulus = AccessStructure(*mt), 1 << RING_BITS
    cells_shares = deal(access, ring(RING_BITS), cells % modulus)
    difference_shares = deal(access, ring(RING_BITS), np.asarray(differences) % modulus, seed=7)

    async def step(channel: Channel) -> bool:
        return await inputs_are_valid(
            channel,
            cells_shares[channel.pid],
            SIZES,
            difference_shares[channel.pid],
            n_max,
            COUNT_BITS,
        )

    return set(run_step(mt, step))


def table(total: int = N_MAX) -> Integers:
    generator = np.random.default_rng(total)
    return np.concatenate([generator.multinomial(total, np.full(s, 1 / s)) for s in SIZES])


@pytest.mark.parametrize("mt", STRUCTURES, ids=str)
def test_counts_of_a_table_pass(mt: tuple[int, int]) -> None:
    assert verdicts(mt, table()) == {True}
    assert verdicts(mt, np.zeros(sum(SIZES), int)) == {True}


@pytest.mark.parametrize("mt", STRUCTURES, ids=str)
def test_too_many_records_fail(mt: tuple[int, int]) -> None:
    assert verdicts(mt, table(), n_max=N_MAX - 1) == {False}


@pytest.mark.parametrize("mt", STRUCTURES, ids=str)
@pytest.mark.parametrize("difference", [1, -1, 1 << (RING_BITS - 1)])
def test_marginals_that_disagree_fail(mt: tuple[int, int], difference: int) -> None:
    assert verdicts(mt, table(), [0, difference, 0]) == {False}


@pytest.mark.parametrize("mt", STRUCTURES, ids=str)
@pytest.mark.parametrize("place", [0, 3, 69, 769])
@pytest.mark.parametrize("value", [-1, 1 << COUNT_BITS, 1 << (RING_BITS - 1)])
def test_a_cell_out_of_range_fails(mt: tuple[int, int], place: int, value: int) -> None:
    cells = table()
    cells[place] = value
    assert verdicts(mt, cells) == {False}


@pytest.mark.parametrize("mt", STRUCTURES, ids=str)
def test_cells_in_range_whose_sum_wraps_fail(mt: tuple[int, int]) -> None:
    cells = np.zeros(sum(SIZES), int)
    cells[70:75] = [1023, 1023, 1023, 1023, 4]
    assert cells.sum() == 1 << RING_BITS
    assert verdicts(mt, cells) == {False}
