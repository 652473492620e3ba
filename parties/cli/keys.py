"""`distaim keys` on the command line."""

import json
from pathlib import Path
from typing import Annotated

import typer

from parties.cli.common import Json, guarded

app = typer.Typer()

_KEYS_TEXT = """made {key} (stays here, readable by you alone)
and {certificate}, valid until {expires}: send it to whoever drafts the manifest
fingerprint {fingerprint}
Have the fingerprint compared by telephone before anyone approves a manifest with it."""


@app.command("keys")
def keys_command(
    name: Annotated[str, typer.Argument(help="This site's name in the manifest.")],
    out: Annotated[Path, typer.Option(help="Folder for the key and the certificate.")] = Path(),
    years: Annotated[int, typer.Option(min=1, max=20, help="How long both are good.")] = 5,
    host: Annotated[
        list[str] | None, typer.Option(help="A host name or address to tell in the certificate.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make this site's key, which never leaves it, and the certificate that the others need."""
    guarded(lambda: _make_keys(name, out, years, host or [], as_json), as_json)


def _make_keys(name: str, out: Path, years: int, hosts: list[str], as_json: bool) -> None:
    from parties.identity.certificates import (  # only this command needs it
        DAYS_PER_YEAR,
        fingerprint,
        make_identity,
        validity,
    )
    from parties.setup.init import check_name

    check_name(name)
    made = make_identity(name, out, days=years * DAYS_PER_YEAR, hosts=hosts)
    certificate = made.certificate
    facts = {
        "name": name,
        "certificate": str(made.certificate_path),
        "key": str(made.key_path),
        "fingerprint": fingerprint(certificate),
        "expires": f"{validity(certificate)[1]:%Y-%m-%d}",
    }
    typer.echo(json.dumps(facts) if as_json else _KEYS_TEXT.format(**facts))
