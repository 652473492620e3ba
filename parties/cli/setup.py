"""Commands by which a site gets ready for a job: keys, approve, doctor."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parties.cli.common import Json, guarded, warn_of_expiry
from parties.errors import ConfigError

if TYPE_CHECKING:
    from parties.identity.certificates import Identity

app = typer.Typer()

EXIT_FOUND = 1
"""Exit code of a command that checks and has found something."""

_KEYS_TEXT = """made {key} (stays here, readable by you alone)
and {certificate}, valid until {expires}: send it to whoever drafts the manifest
fingerprint {fingerprint}
Have the fingerprint compared by telephone before anyone approves a manifest with it."""

ManifestFile = Annotated[Path, typer.Argument(help="The manifest, TOML or JSON.")]
SiteFile = Annotated[Path | None, typer.Option("--config", help="This site's settings.")]
CertificateFile = Annotated[
    Path | None, typer.Option("--cert", help="This site's certificate, without --config.")
]
KeyFile = Annotated[Path | None, typer.Option("--key", help="This site's key, without --config.")]


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


@app.command("approve")
def approve_command(
    manifest: ManifestFile,
    config: SiteFile = None,
    cert: CertificateFile = None,
    key: KeyFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without asking.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only tell who has signed.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a manifest means, and sign it as one of its compute parties."""
    found: list[bool] = []

    def run() -> None:
        if check:
            found.append(_print_approvals(manifest, as_json))
        else:
            _approve(manifest, _identity(config, cert, key), yes, as_json)

    guarded(run, as_json)
    if not all(found):
        sys.exit(EXIT_FOUND)


@app.command("doctor")
def doctor_command(
    config: SiteFile = None,
    manifest: Annotated[
        Path | None, typer.Option(help="The manifest, for a holder or the estimator.")
    ] = None,
    cert: CertificateFile = None,
    key: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Check this site and its way to the compute parties; each finding has a cause and a fix."""
    healthy: list[bool] = []

    def run() -> None:
        from parties.setup import doctor

        if config is not None:
            site = doctor.party_site(config)
        elif manifest is None:
            raise ConfigError("give a compute party's --config, or --manifest, --cert and --key")
        else:
            site = doctor.Site(manifest, _identity(None, cert, key))
        findings = doctor.examine(site)
        healthy.append(all(finding.level != "error" for finding in findings))
        if as_json:
            listed = [finding.as_dict() for finding in findings]
            typer.echo(json.dumps({"ok": healthy[0], "findings": listed}))
        else:
            typer.echo("\n".join(finding.text() for finding in findings))

    guarded(run, as_json)
    if not all(healthy):
        sys.exit(EXIT_FOUND)


def _make_keys(name: str, out: Path, years: int, hosts: list[str], as_json: bool) -> None:
    from parties.files import check_folder_name
    from parties.identity.certificates import (  # only this command needs it
        DAYS_PER_YEAR,
        fingerprint,
        make_identity,
        validity,
    )
    from parties.setup.init import check_name

    check_folder_name(out, "--out")
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


def _approve(path: Path, identity: "Identity", yes: bool, as_json: bool) -> None:
    from parties.agreement.approval import approve, review, signing_role  # used here only
    from parties.agreement.manifest import load_manifest
    from parties.agreement.toml import summary

    manifest = load_manifest(path)
    role = signing_role(manifest, identity)
    inputs = review(manifest)
    typer.echo(summary(manifest, inputs), err=True)
    warn_of_expiry(manifest)
    if not yes:
        typer.confirm(f"Sign this as the {role.kind} {role.name}?", abort=True, err=True)
    written = approve(manifest, path, identity)
    if as_json:
        facts = {"party": role.name, "manifest": manifest.digest, "approval": str(written)}
        typer.echo(json.dumps(facts))
    else:
        typer.echo(f"signed: send {written} to all other sites, for the folder {written.parent}")


def _print_approvals(path: Path, as_json: bool) -> bool:
    """Tell who has signed; return whether all parties have."""
    from parties.agreement.approval import approval_states  # only this command needs it
    from parties.agreement.manifest import load_manifest

    manifest = load_manifest(path)
    states = approval_states(manifest, path)
    complete = all(state.state == "signed" for state in states)
    if as_json:
        listed = [dataclasses.asdict(state) for state in states]
        typer.echo(
            json.dumps({"manifest": manifest.digest, "complete": complete, "parties": listed})
        )
    else:
        typer.echo(f"manifest {manifest.digest}")
        for state in states:
            typer.echo(f"  {state.party}: {state.text or state.state}")
    return complete


def _identity(config: Path | None, cert: Path | None, key: Path | None) -> "Identity":
    """Return the files that prove who this site is, from its config or from two options."""
    from parties.identity.certificates import Identity  # only some commands need it
    from parties.setup.config import load_party_config

    if config is not None:
        return load_party_config(config).identity
    if cert is None or key is None:
        raise ConfigError("give this site's --config, or both --cert and --key")
    return Identity(cert.stem, cert, key)
