"""`distaim schema` on the command line."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aim_core.tables.files.formats import TableSource
from parties.cli.common import Json, guarded
from parties.cli.options import takes_options
from parties.errors import ConfigError
from parties.setup.table_options import TABLE_HELP, TableOptions

if TYPE_CHECKING:
    from aim_core.tables.drafting import DraftedSchema

app = typer.Typer()


@dataclass(frozen=True, kw_only=True)
class SchemaOptions(TableOptions):
    """The options of `distaim schema`."""

    table: Annotated[Path, typer.Argument(help=f"{TABLE_HELP}, - is stdin.")]
    out: Annotated[Path | None, typer.Option(help="Write here instead of to the screen.")] = None
    bins: Annotated[int, typer.Option(min=1, help="Bins of a continuous column.")] = 32


@app.command("schema")
@takes_options(SchemaOptions)
def schema_command(options: SchemaOptions, as_json: Json = False) -> None:
    """Draft a schema from a table; what it takes from the data is marked as not private."""
    from aim_core.tables.drafting import draft_schema  # pandas is slow to load
    from aim_core.tables.files.stdin import on_disk

    def draft() -> None:
        out = options.out
        if out is not None:
            _check_name(out, as_json)
        with on_disk(TableSource(options.table, options.table_format)) as source:
            drafted = draft_schema(source, options.bins)
        if out is None:
            typer.echo(_json(drafted) if as_json else drafted.to_toml())
        else:
            drafted.save(out)
            _tell_notes(drafted, out)
            typer.echo(f"wrote {out}; review what is marked before anyone else sees it", err=True)
        for name, reason in drafted.dropped.items():
            typer.echo(f"column {name} is left out: {reason}", err=True)

    guarded(draft, as_json)


def _check_name(out: Path, as_json: bool) -> None:
    """Refuse a file that is there, or whose name says another form than it would have."""
    if out.exists():
        raise ConfigError(f"{out} exists; nothing is overwritten, name a new file")
    endings = (".json",) if as_json else ("", ".toml", ".json")
    if out.suffix.lower() not in endings:
        raise ConfigError(
            f"{out} does not end in {' or '.join(filter(None, endings))}; a schema file is JSON "
            "where its name ends in .json, else TOML"
        )


def _json(drafted: "DraftedSchema") -> str:
    return json.dumps({**drafted.schema.to_dict(), "dropped": drafted.dropped}, indent=1)


def _tell_notes(drafted: "DraftedSchema", out: Path) -> None:
    """Show the notes of a draft in JSON, which has no comments."""
    for name, note in drafted.notes.items() if out.suffix.lower() == ".json" else ():
        typer.echo(f"column {name}: {note}", err=True)
