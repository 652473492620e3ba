"""`distaim schema` on the command line."""

import json
from pathlib import Path
from typing import Annotated

import typer

from parties.cli.common import Json, guarded
from parties.errors import ConfigError

app = typer.Typer()


@app.command("schema")
def schema_command(
    table: Annotated[Path, typer.Argument(help="CSV or Parquet.")],
    out: Annotated[Path | None, typer.Option(help="Write here instead of to the screen.")] = None,
    bins: Annotated[int, typer.Option(min=1, help="Bins of a continuous column.")] = 32,
    as_json: Json = False,
) -> None:
    """Draft a schema from a table; what it takes from the data is marked as not private."""
    from aim_core.tables.drafting import draft_schema  # pandas is slow to load

    def draft() -> None:
        if out is not None and out.exists():
            raise ConfigError(f"{out} exists; nothing is overwritten, name a new file")
        drafted = draft_schema(table, bins)
        text = drafted.to_toml()
        if as_json:
            text = json.dumps({**drafted.schema.to_dict(), "dropped": drafted.dropped}, indent=1)
        if out is None:
            typer.echo(text)
        else:
            out.write_text(text, "utf-8")
            typer.echo(f"wrote {out}; review what is marked before anyone else sees it", err=True)
        for name, reason in drafted.dropped.items():
            typer.echo(f"column {name} is left out: {reason}", err=True)

    guarded(draft, as_json)
