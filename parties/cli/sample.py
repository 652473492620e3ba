"""`distaim sample` on the command line."""

import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parties.cli.common import Json, guarded
from parties.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from aim_core.tables.columns.base import Column

app = typer.Typer()


@app.command("sample")
def sample_command(
    model: Annotated[Path, typer.Argument(help="model.npz of a run or a job.")],
    rows: Annotated[
        int | None, typer.Option(min=1, help="Rows to sample; default: as the model expects.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="COLUMN=VALUE or COLUMN=LOW..HIGH: only such rows. Repeated for a column, any of "
            "them; COLUMN= is missing."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New file, .csv, .json or .parquet; default: CSV on screen.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Public seed, to sample the same rows again.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Sample a synthetic table from a saved model. It costs no privacy budget."""
    chosen = secrets.randbits(32) if seed is None else seed
    guarded(lambda: _sample(model, rows, where or [], out, chosen, as_json), as_json)


def _sample(
    path: Path, rows: int | None, where: Sequence[str], out: Path | None, seed: int, as_json: bool
) -> None:
    from aim_core.models.model_file import load_model  # pandas is slow to load
    from aim_core.tables.sampled.writing import check_table_name, write_table

    if out is not None:
        check_table_name(out)
    elif as_json:
        raise ConfigError("--json tells what was written; name the table's file with --out")
    saved = load_model(path)
    columns = {column.name: column for column in saved.schema.columns}
    table = saved.sample(rows, seed, read_where(where, columns))
    if out is None:
        _show(table)
        return
    write_table(table, out)
    told = {"rows": len(table), "seed": seed, "out": str(out)}
    typer.echo(json.dumps(told) if as_json else f"{len(table):,} rows (seed {seed}): {out}")


def _show(table: "pd.DataFrame") -> None:
    from aim_core.tables.sampled.writing import write_csv

    try:
        write_csv(table, sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough, as in a pipe to head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def read_where(texts: Sequence[str], columns: Mapping[str, "Column"]) -> dict[str, object]:
    """Read conditions of the command line, for `conditions`; ConfigError if one is none.

    In a column with an order two values with `..` between them are a range, either of which may be
    left out; elsewhere such a text is a value.
    """
    asked: dict[str, list[object]] = {}
    for text in texts:
        places = [place for place, sign in enumerate(text) if sign == "="]
        name = next((text[:place] for place in places if text[:place] in columns), None)
        if name is None:
            raise ConfigError(
                f"--where {text!r} does not begin with a column and =; the columns are: "
                f"{', '.join(columns)}"
            )
        asked.setdefault(name, []).append(_asked(text[len(name) + 1 :], columns[name]))
    return dict(asked)


def _asked(text: str, column: "Column") -> object:
    low, dots, high = text.partition("..")
    has_order = any(interval is not None for interval in column.intervals())
    if dots and has_order and text not in column.labels():
        return low.strip() or None, high.strip() or None
    return text.strip() or None
