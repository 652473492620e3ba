"""A table from standard input, which is kept while it is needed: most tables are read twice."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from aim_core.tables.files.formats import STDIN, TableSource


@contextmanager
def on_disk(source: TableSource) -> Iterator[TableSource]:
    """Give a table's source as a file; standard input is copied into one, and removed at the end.

    Nobody else may read that file.
    """
    if source.path != STDIN:
        yield source
        return
    with tempfile.NamedTemporaryFile(prefix="distaim-table-") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        yield replace(source, path=Path(file.name))
