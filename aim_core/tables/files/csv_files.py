"""Tables in text files: CSV and its relatives, packed or not."""

import csv
import itertools
import zlib
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

from aim_core.errors import TableError
from aim_core.tables.cells import Chunk
from aim_core.tables.files.formats import TableFormat
from aim_core.tables.files.forms import Form
from aim_core.tables.files.rows import chunks_of_rows
from aim_core.tables.files.separators import announced_separator, found_separator
from aim_core.tables.files.spellings import found_spellings
from aim_core.tables.files.text_files import opened_lines

_N_FIRST_LINES = 200
"""Lines from which the separator is found."""


def csv_chunks(
    path: Path, form: Form, known: TableFormat, n_rows: int, skip: Collection[str]
) -> Iterator[Chunk]:
    """Read a text table in chunks; TableError for what is no table, as `read_chunks` says."""
    try:
        with opened_lines(path, form, known) as all_lines:
            separator, lines = _separated(path, all_lines, known)
            rows = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
            find = partial(found_spellings, path, separator, known, skip=skip)
            yield from chunks_of_rows(path, rows, known.header, n_rows, skip, find)
    except (csv.Error, EOFError, zlib.error, OSError, BadZipFile, NotImplementedError) as error:
        raise TableError(f"cannot read {path} as CSV: {error}; write the file again") from error


def _separated(path: Path, lines: Iterator[str], known: TableFormat) -> tuple[str, Iterator[str]]:
    """Return what separates the cells of a table, and all of its lines."""
    first = list(itertools.islice(lines, _N_FIRST_LINES))
    announced = announced_separator(first[0]) if first else None
    if announced:
        del first[0]
    separator = known.separator or announced or found_separator(path, first)
    return separator, itertools.chain(first, lines)
