"""Input checks: only counts of one table pass, whatever a holder shares."""

import numpy as np
import pytest

from mpc.session.access import AccessStructure
from mpc.session.channel import Step
from mpc.session.in_memory import run_parties
from mpc.session.session import Session
from mpc.shares.replicated import ring
from mpc.steps.input_check import inputs_are_valid
from tests.support.sessions import deal

RING_BITS, COUNT_BITS, N_MAX = 12, 10, 1000
SIZES = [1, 5, 64, 700]
STRUCTURES = [(3, 1), (4, 1), (5, 2)]


def verdicts(mt: tuple[int, int], cells, differences=(0, 0), n_max: int = N_MAX):
    access, modulus = AccessStructure(*mt), 1 << RING_BITS
    cells_shares = deal(access, ring(RING_BITS), np.asarray(cells) % modulus)
    difference_shares = deal(access, ring(RING_BITS), np.asarray(differences) % modulus, seed=7)

    async def program(session: Session):
        with session.step(Step.CHECK, "test") as channel:
            return await inputs_are_valid(
                channel,
                cells_shares[session.pid],
                SIZES,
                difference_shares[session.pid],
                n_max,
                COUNT_BITS,
            )

    return set(run_parties(*mt, program))


def table(total=N_MAX):
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
def test_marginals_that_disagree_fail(mt: tuple[int, int], difference) -> None:
    assert verdicts(mt, table(), [0, difference, 0]) == {False}


@pytest.mark.parametrize("mt", STRUCTURES, ids=str)
@pytest.mark.parametrize("place", [0, 3, 69, 769])
@pytest.mark.parametrize("value", [-1, 1 << COUNT_BITS, 1 << (RING_BITS - 1)])
def test_a_cell_out_of_range_fails(mt: tuple[int, int], place, value) -> None:
    cells = table()
    cells[place] = value
    assert verdicts(mt, cells) == {False}


@pytest.mark.parametrize("mt", STRUCTURES, ids=str)
def test_cells_in_range_whose_sum_wraps_fail(mt: tuple[int, int]) -> None:
    cells = np.zeros(sum(SIZES), int)
    cells[70:75] = [1023, 1023, 1023, 1023, 4]
    assert cells.sum() == 1 << RING_BITS
    assert verdicts(mt, cells) == {False}
