"""A compute party's state in one SQLite file: what must survive the process, however it ends.

Bodies of uploads and the transcript are files beside it. Every change is one transaction that is
on disk when the call returns (WAL with synchronous=FULL), and a torn one was never made. The file
stays locked, so that two processes cannot work on one state.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from parties.errors import ConfigError, StateError
from parties.wire.messages import LedgerEntry, UploadReceipt, parse

SCHEMA_VERSION = 1
"""The form of the tables below, as `PRAGMA user_version`: raised by every change of them."""

_TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE uploads (holder TEXT PRIMARY KEY, receipt TEXT NOT NULL) STRICT;
CREATE TABLE inputs (holder TEXT PRIMARY KEY, upload TEXT NOT NULL) STRICT;
CREATE TABLE ledger (
    number INTEGER PRIMARY KEY, request TEXT NOT NULL UNIQUE, sha256 TEXT NOT NULL,
    rho TEXT NOT NULL, delta TEXT NOT NULL, head TEXT NOT NULL
) STRICT;
CREATE TABLE requests (
    id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, answer BLOB
) STRICT;
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""

_DISK_ERRORS = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
"""What a person repairs at the disk, after which the same start works."""


@dataclass(frozen=True)
class StoredRequest:
    """A request that was charged or answered; `answer` is None for one that was never answered."""

    sha256: str
    answer: bytes | None


class Store:
    """The state of one party's job.

    ConfigError if the file belongs to another job or is in use; StateError if another version of
    the program wrote it in another form and, from every method, if it cannot be read or written.
    """

    def __init__(self, path: Path, manifest_digest: str, party: int) -> None:
        self._path, self._party = path, party
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._connection = _open(path)
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF in _DISK_ERRORS:
                raise self._unusable(error) from error
            raise ConfigError(
                f"the state in {path} cannot be opened ({error}); is another process of this "
                "party running, or does the file belong to another user?"
            ) from error
        path.chmod(0o600)
        self._check_version()
        self._bind(f"{manifest_digest} {party}")

    def _check_version(self) -> None:
        """Refuse a state in another form than this program's; StateError names the version."""
        row = self._one("PRAGMA user_version")
        found = None if row is None else row[0]
        if found == SCHEMA_VERSION:
            return
        self.close()
        age = "a newer" if isinstance(found, int) and found > SCHEMA_VERSION else "an older"
        raise self.unreadable(f"its tables have version {found}, {age} one than {SCHEMA_VERSION}")

    def _bind(self, job: str) -> None:
        """Tie a new state to its job, and check that an old one belongs to it."""
        known = self.fact("job")
        if known is None:
            self.set_facts({"job": job})
        elif known != job:
            self.close()
            raise ConfigError(
                f"the state in {self._path} belongs to another job or party ({known[:12]}); give "
                "each job a state folder of its own"
            )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def unreadable(self, why: str) -> StateError:
        """Say that this program does not understand what another version has written."""
        return StateError(
            f"the state in {self._path} cannot be read by this version of the program: {why}; go "
            "on with the version that began this job, or begin a new job in a new state folder",
            party=self._party,
        )

    def fact(self, name: str) -> str | None:
        """Return a named text."""
        row = self._one("SELECT value FROM facts WHERE name = ?", (name,))
        return None if row is None else str(row[0])

    def set_facts(self, facts: Mapping[str, str]) -> None:
        """Set named texts."""
        with self._transaction():
            self._set_facts(facts)

    def receipts(self) -> dict[str, UploadReceipt]:
        """Return the receipts given so far, by holder."""
        rows = self._all("SELECT holder, receipt FROM uploads")
        return {str(holder): parse(UploadReceipt, str(text).encode()) for holder, text in rows}

    def add_receipt(self, receipt: UploadReceipt) -> None:
        """Note that an upload is on disk."""
        with self._transaction():
            self._connection.execute(
                "INSERT INTO uploads VALUES (?, ?)", (receipt.holder, receipt.to_json().decode())
            )

    def inputs(self) -> dict[str, str] | None:
        """Return the frozen uploads by holder, None before they are frozen."""
        rows = self._all("SELECT holder, upload FROM inputs ORDER BY holder")
        return {str(holder): str(upload) for holder, upload in rows} or None

    def freeze(self, inputs: Mapping[str, str], facts: Mapping[str, str]) -> None:
        """Fix the uploads that make up the input."""
        with self._transaction():
            self._connection.executemany("INSERT INTO inputs VALUES (?, ?)", inputs.items())
            self._set_facts(facts)

    def charges(self) -> list[tuple[LedgerEntry, str]]:
        """Return the ledger's entries in order, each with the head after it."""
        rows = self._all("SELECT request, sha256, rho, delta, head FROM ledger ORDER BY number")
        names = ("request", "sha256", "rho", "delta")
        return [
            (LedgerEntry.model_validate(dict(zip(names, row, strict=False))), str(row[4]))
            for row in rows
        ]

    def book(self, number: int, charge: LedgerEntry, head: str, facts: Mapping[str, str]) -> None:
        """Add the ledger's next entry, and note the request as charged and not answered."""
        with self._transaction():
            self._connection.execute(
                "INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?)",
                (number, charge.request, charge.sha256, charge.rho, charge.delta, head),
            )
            self._connection.execute(
                "INSERT INTO requests VALUES (?, ?, NULL)", (charge.request, charge.sha256)
            )
            self._set_facts(facts)

    def request(self, request_id: str) -> StoredRequest | None:
        """Return what is known of a request."""
        row = self._one("SELECT sha256, answer FROM requests WHERE id = ?", (request_id,))
        if row is None:
            return None
        return StoredRequest(str(row[0]), row[1] if isinstance(row[1], bytes) else None)

    def unanswered(self) -> list[str]:
        """Return the ids of the requests that were charged and not answered, in their order."""
        rows = self._all(
            "SELECT id FROM requests JOIN ledger ON id = request WHERE answer IS NULL "
            "ORDER BY number"
        )
        return [str(row[0]) for row in rows]

    def answer(self, request_id: str, sha256: str, answer: bytes, facts: Mapping[str, str]) -> None:
        """Keep the answer to a request; repeats of it get this one."""
        with self._transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO requests VALUES (?, ?, ?)", (request_id, sha256, answer)
            )
            self._set_facts(facts)

    def _set_facts(self, facts: Mapping[str, str]) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _one(self, query: str, values: tuple[str, ...] = ()) -> tuple[object, ...] | None:
        rows = self._all(query, values)
        return rows[0] if rows else None

    def _all(self, query: str, values: tuple[str, ...] = ()) -> list[tuple[object, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _unusable(self, error: sqlite3.Error) -> StateError:
        return StateError(
            f"the state in {self._path} cannot be read or written ({error}); check the disk, free "
            "space if it is full, and start this party again: nothing is lost or charged twice",
            party=self._party,
        )


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=1, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if connection.execute("SELECT 1 FROM sqlite_schema").fetchone() is None:
            connection.executescript(_TABLES)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def disk_error(error: OSError, party: int) -> StateError:
    """Say that a file beside the store cannot be written."""
    return StateError(
        f"a file of this party cannot be written ({error}); check the disk, free space if it is "
        "full, and start this party again: nothing is lost or charged twice",
        party=party,
    )
