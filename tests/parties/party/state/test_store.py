import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from parties.errors import ConfigError, StateError
from parties.party.state.store import SCHEMA_VERSION, Store
from parties.wire.messages import LedgerEntry, UploadReceipt

SHA = "ab" * 32


def entry(number: int) -> LedgerEntry:
    return LedgerEntry(request=f"measure-{number}", sha256=SHA, rho="1/3", delta="0")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "state" / "job.sqlite", "m", 0)
    yield opened
    opened.close()


def test_a_charge_is_a_request_without_an_answer_until_it_is_answered(store: Store) -> None:
    assert store.request("measure-1") is None
    store.book(1, entry(1), "head-1", {"phase": "running"})
    known = store.request("measure-1")
    assert known is not None
    assert (known.sha256, known.answer) == (SHA, None)
    assert store.unanswered() == ["measure-1"]
    store.answer("measure-1", SHA, b"\0answer", {"costs": "{}"})
    known = store.request("measure-1")
    assert known is not None
    assert known.answer == b"\0answer"
    assert store.unanswered() == []
    assert (store.fact("phase"), store.fact("costs")) == ("running", "{}")


def test_a_transaction_is_whole_or_not_at_all(store: Store) -> None:
    store.book(1, entry(1), "head-1", {"round": "1"})
    with pytest.raises(StateError):
        store.book(2, entry(1), "head-2", {"round": "2"})
    assert [charge.request for charge, _ in store.charges()] == ["measure-1"]
    assert store.fact("round") == "1"


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "job.sqlite"
    receipt = UploadReceipt(
        manifest=SHA, party=0, holder="ann", upload=SHA, sha256=SHA, n_bytes=7, signature="5"
    )
    store = Store(path, "m", 0)
    store.add_receipt(receipt)
    store.freeze({"bob": SHA, "ann": SHA}, {"phase": "frozen"})
    store.book(1, entry(1), "head-1", {})
    store.close()
    again = Store(path, "m", 0)
    assert again.receipts() == {"ann": receipt}
    assert list((again.inputs() or {}).items()) == [("ann", SHA), ("bob", SHA)]
    assert again.charges() == [(entry(1), "head-1")]
    assert again.fact("phase") == "frozen"
    again.close()


def test_two_processes_cannot_have_one_state(tmp_path: Path) -> None:
    path = tmp_path / "job.sqlite"
    store = Store(path, "m", 0)
    with pytest.raises(ConfigError, match="another process"):
        Store(path, "m", 0)
    store.close()
    Store(path, "m", 0).close()
    with pytest.raises(ConfigError, match="another job or party"):
        Store(path, "m", 1)


@pytest.mark.parametrize(
    ("version", "why"), [(SCHEMA_VERSION + 1, "a newer one"), (0, "an older one"), (-1, "an older")]
)
def test_a_store_of_another_version_is_refused_by_name_and_left_alone(
    tmp_path: Path, version: int, why: str
) -> None:
    path = tmp_path / "job.sqlite"
    Store(path, "m", 0).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(StateError, match=rf"job\.sqlite .* version {version}, {why}"):
        Store(path, "m", 0)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)
    connection.close()


def test_a_new_store_has_this_programs_version(store: Store) -> None:
    assert store._one("PRAGMA user_version") == (SCHEMA_VERSION,)


def test_a_full_disk_is_told_and_changes_nothing(store: Store) -> None:
    store.book(1, entry(1), "head-1", {})
    pages = store._one("PRAGMA page_count")
    assert pages is not None
    store._one(f"PRAGMA max_page_count = {pages[0]}")
    with pytest.raises(StateError, match="full"):
        store.answer("measure-1", SHA, bytes(1 << 20), {"phase": "running"})
    known = store.request("measure-1")
    assert known is not None
    assert known.answer is None
    assert store.fact("phase") is None


def test_the_files_are_private(tmp_path: Path, store: Store) -> None:
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "job.sqlite").stat().st_mode & 0o777 == 0o600
