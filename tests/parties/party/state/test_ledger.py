import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import pytest

from aim_core.errors import BudgetExceeded
from parties.errors import ConfigError
from parties.party.state.ledger import Ledger
from parties.party.state.store import Store
from parties.wire.chain import HashChain
from parties.wire.messages import LedgerEntry

DELTA = Fraction(1, 10**9)
SHA = "ab" * 32


@contextmanager
def ledger_in(folder: Path, manifest: str = "m") -> Iterator[Ledger]:
    store = Store(folder / "job.sqlite", manifest, 0)
    try:
        yield Ledger(store, manifest, Fraction(1), DELTA)
    finally:
        store.close()


def entry(request: str, rho: Fraction, delta: Fraction = DELTA / 4) -> LedgerEntry:
    return LedgerEntry(request=request, sha256=SHA, rho=str(rho), delta=str(delta))


def test_ledger_survives_a_restart_and_never_overspends(tmp_path: Path) -> None:
    with ledger_in(tmp_path) as ledger:
        ledger.charge(entry("select-1", Fraction(2, 3)), {})
        head = ledger.head
        with pytest.raises(BudgetExceeded):
            ledger.charge(entry("measure-1", Fraction(1, 2)), {})
        assert ledger.head == head

    with ledger_in(tmp_path) as again:
        assert (again.spent, again.head) == (Fraction(2, 3), head)
        again.charge(entry("measure-1", Fraction(1, 3)), {})
        with pytest.raises(BudgetExceeded):
            again.check(entry("measure-2", Fraction(1, 10**9)))


def test_a_restarted_ledger_remembers_its_delta(tmp_path: Path) -> None:
    for number in range(4):
        with ledger_in(tmp_path) as ledger:
            ledger.charge(entry(f"select-{number}", Fraction(1, 9)), {})
    with ledger_in(tmp_path) as ledger:
        spent, head = ledger.spent, ledger.head
        with pytest.raises(BudgetExceeded, match="delta"):
            ledger.charge(entry("select-4", Fraction(1, 9), DELTA / 10**9), {})
        assert (ledger.spent, ledger.head) == (spent, head)


def test_ledgers_of_the_same_requests_have_the_same_head(tmp_path: Path) -> None:
    heads = set()
    for pid in range(2):
        with ledger_in(tmp_path / str(pid)) as ledger:
            ledger.charge(entry("select-1", Fraction(1, 3)), {})
            heads.add(ledger.head)
    assert len(heads) == 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger SET rho = '1/99' WHERE number = 2",
        "UPDATE ledger SET delta = '0' WHERE number = 2",
        "UPDATE ledger SET request = 'select-9' WHERE number = 1",
        "DELETE FROM ledger WHERE number = 1",
        "UPDATE ledger SET number = 9 WHERE number = 1",
    ],
)
def test_a_changed_ledger_is_refused(tmp_path: Path, change: str) -> None:
    with ledger_in(tmp_path) as ledger:
        for number in range(3):
            ledger.charge(entry(f"select-{number}", Fraction(1, 10)), {})
    with sqlite3.connect(tmp_path / "job.sqlite") as connection:
        connection.execute(change)
    connection.close()
    with pytest.raises(ConfigError, match="ledger does not follow"), ledger_in(tmp_path):
        pass


def test_a_state_of_another_job_is_refused(tmp_path: Path) -> None:
    with ledger_in(tmp_path):
        pass
    with pytest.raises(ConfigError, match="another job"), ledger_in(tmp_path, "n"):
        pass


def test_chain_refuses_lines_that_are_no_entries(tmp_path: Path) -> None:
    path = tmp_path / "chain.jsonl"
    for text in ("nonsense\n", "[]\n", '{"a":1}\n'):
        path.write_text(text)
        with pytest.raises(ConfigError, match="line 1"):
            HashChain(path, "0" * 64)


def test_a_line_that_a_crash_cut_off_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "chain.jsonl"
    chain = HashChain(path, "0" * 64)
    chain.append({"a": 1})
    head = chain.head
    chain.append({"a": 2})
    chain.close()
    path.write_bytes(path.read_bytes()[:-5])
    again = HashChain(path, "0" * 64)
    assert (again.head, again.entries) == (head, [{"a": 1}])
    again.append({"a": 3})
    again.close()
    once_more = HashChain(path, "0" * 64)
    assert [e["a"] for e in once_more.entries] == [1, 3]
    once_more.close()
