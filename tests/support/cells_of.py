"""Tables read as a whole, for tests of what is read."""

from pathlib import Path

from aim_core.tables.files.formats import TableSource
from aim_core.tables.files.reading import read_chunks


def read_all(source: TableSource | Path, n_rows: int = 2) -> dict[str, list[str | None]]:
    """Return all cells by column, None where a row has none."""
    found: dict[str, list[str | None]] = {}
    for chunk in read_chunks(source, n_rows):
        for name, cells in chunk.items():
            found.setdefault(name, []).extend(cells.row(index) for index in range(len(cells)))
    return found


def written(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    """Write a file of texts (as UTF-8) or of bytes."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
