"""DataFrames as chunks of cells. The index is no column, and is ignored."""

from collections.abc import Iterator

import pandas as pd

from aim_core.errors import TableError
from aim_core.tables.cells import Chunk, frame_cells
from aim_core.tables.files.reading import N_CHUNK_ROWS
from aim_core.tables.sampled.frames import schema_cells
from aim_core.tables.schema import Schema


def frame_chunks(table: pd.DataFrame, schema: Schema | None = None) -> Iterator[Chunk]:
    """Yield a table's cells in chunks: those that a schema reads, written as it has them, or all.

    Raises TypeError for what is no DataFrame, TableError for one without rows or columns.
    """
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"the table must be a pandas DataFrame, not {type(table).__name__}")
    unread = () if schema is None else schema.unread
    wanted = [str(name) not in unread for name in table.columns]
    if not len(table) or not any(wanted):
        raise TableError("the table has no rows or no columns that are read; give one with both")
    kept = table.loc[:, wanted]
    for start in range(0, len(kept), N_CHUNK_ROWS):
        rows = kept.iloc[start : start + N_CHUNK_ROWS]
        yield frame_cells(rows) if schema is None else schema_cells(rows, schema)
