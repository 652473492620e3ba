"""What every form of table file is asked first: can it be read, and has each column its name."""

from collections.abc import Sequence
from pathlib import Path

from aim_core.errors import TableError
from aim_core.tables.cells import nfc

N_FIRST_BYTES = 4096


def first_bytes(path: Path) -> bytes:
    """Return the first `N_FIRST_BYTES` bytes of a file; TableError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(N_FIRST_BYTES)
    except OSError as error:
        raise TableError(
            f"cannot read the table {path}: {error.strerror}; check the path and its permissions"
        ) from error


def checked_names(path: Path, names: Sequence[str]) -> list[str]:
    """Return the names of columns in normal form (NFC), with one for each column that has none.

    That one is `Unnamed: 0` with the column's index, as pandas has it, so that a schema can drop
    the column. Raises TableError for no column, and for a name that occurs twice.
    """
    named = [nfc(name) or f"Unnamed: {index}" for index, name in enumerate(names)]
    if not named:
        raise TableError(f"the table {path} has no columns; give a header line and rows")
    repeated = sorted({name for name in named if named.count(name) > 1})
    if repeated:
        raise TableError(f"the table {path} has two columns {repeated[0]!r}; rename one of them")
    return named
