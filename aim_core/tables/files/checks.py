"""What every form of table file is asked first: can it be read, and has each column its name."""

from collections.abc import Sequence
from pathlib import Path

from aim_core.errors import TableError


def first_bytes(path: Path) -> bytes:
    """Return the first four bytes of a file; TableError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise TableError(
            f"cannot read the table {path}: {error.strerror}; check the path and its permissions"
        ) from error


def checked_names(path: Path, names: Sequence[str]) -> list[str]:
    """Return the names of columns; TableError if one is empty or occurs twice."""
    repeated = sorted({name for name in names if list(names).count(name) > 1})
    if repeated:
        raise TableError(f"the table {path} has two columns {repeated[0]!r}; rename one of them")
    if "" in names or not names:
        raise TableError(f"a column of the table {path} has no name; name every column")
    return list(names)
