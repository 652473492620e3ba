"""How a table is written in its file, as options of the commands that read one."""

from dataclasses import dataclass, fields
from typing import Annotated

import typer

from aim_core.tables.files.formats import TableFormat

TABLE_HELP = "CSV, Parquet, Feather or Excel"
"""Forms of tables, for the texts of arguments."""


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """The fields of a `TableFormat`, each as an option; None is found in the file."""

    separator: Annotated[
        str | None, typer.Option(help="Between cells: comma, semicolon, tab, pipe, or a character.")
    ] = None
    encoding: Annotated[
        str | None, typer.Option(help="Of the text, such as utf-8, cp1252 or latin-1.")
    ] = None
    decimal: Annotated[str | None, typer.Option(help="In numbers: point or comma.")] = None
    thousands: Annotated[
        str | None, typer.Option(help="In numbers: comma, point, space, apostrophe or none.")
    ] = None
    header: Annotated[
        bool | None,
        typer.Option("--header/--no-header", help="Whether the first row has the columns' names."),
    ] = None

    @property
    def table_format(self) -> TableFormat:
        """Return what was said of the table; TableError for what cannot be."""
        return TableFormat(**{each.name: getattr(self, each.name) for each in fields(TableFormat)})
