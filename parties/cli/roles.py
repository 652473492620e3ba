"""Commands that play a role in a job: party, submit, job."""

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parties.cli.common import EstimatorKind, Json, guarded
from parties.errors import ConfigError

if TYPE_CHECKING:
    from parties.identity.certificates import Identity
    from parties.setup.config import EstimatorConfig, HoldersConfig
    from parties.wire.events import Event

app = typer.Typer()

ConfigFile = Annotated[Path, typer.Option("--config", help="This site's settings, TOML or JSON.")]
SiteFile = Annotated[
    Path | None, typer.Option("--config", help="This site's settings, instead of the options.")
]
CertificateFile = Annotated[Path | None, typer.Option("--cert", help="This site's certificate.")]
KeyFile = Annotated[Path | None, typer.Option("--key", help="This site's key.")]
ErrorFile = Annotated[Path | None, typer.Option("--error-file", hidden=True)]
FollowParent = Annotated[bool, typer.Option("--follow-parent", hidden=True)]


@app.command("party")
def party_command(
    config: ConfigFile,
    error_file: ErrorFile = None,
    follow_parent: FollowParent = False,
    as_json: Json = False,
) -> None:
    """Run one compute party until its job ends; started again, it goes on."""
    from parties.party.process import run_party  # only this role needs it
    from parties.setup.config import load_party_config

    _begin_child(follow_parent)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    for name in ("parties", "mpc"):
        logging.getLogger(name).setLevel(logging.INFO)
    guarded(lambda: run_party(load_party_config(config)), as_json, error_file)


@app.command("submit")
def submit_command(
    table: Annotated[
        Path | None, typer.Argument(help="This holder's table, CSV or Parquet.")
    ] = None,
    manifest: Annotated[Path | None, typer.Option(help="The approved manifest.")] = None,
    certificate: CertificateFile = None,
    key: KeyFile = None,
    receipts: Annotated[Path, typer.Option(help="Folder for the parties' signed receipts.")] = Path(
        "receipts"
    ),
    outbox: Annotated[
        Path | None, typer.Option(help="Private folder for the shares until all are received.")
    ] = None,
    wait: Annotated[float, typer.Option(min=1, help="Seconds to try at a party.")] = 600,
    config: SiteFile = None,
    error_file: ErrorFile = None,
    follow_parent: FollowParent = False,
    as_json: Json = False,
) -> None:
    """Check this holder's table, share it among the compute parties, keep their receipts.

    Interrupted or cut off, the same command goes on with the very same shares.
    """
    from parties.holder.submit import submit  # only this role needs it
    from parties.wire.events import UploadsSent

    def share() -> None:
        settings = _holders_config(
            config, table, manifest, certificate, key, receipts, outbox, wait
        )
        sent = submit(settings)
        if config is not None or as_json:
            typer.echo(UploadsSent(upload_bytes=sent).model_dump_json())
            return
        for name, n_bytes in sent.items():
            typer.echo(f"{name}: all parties have this upload ({n_bytes:,} bytes); nothing more is")
            typer.echo(f"needed from here. Keep the signed receipts in {settings.receipts}.")

    _begin_child(follow_parent)
    guarded(share, as_json, error_file)


@app.command("job")
def job_command(
    manifest: Annotated[Path | None, typer.Argument(help="The approved manifest.")] = None,
    certificate: CertificateFile = None,
    key: KeyFile = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results.")] = None,
    estimator: Annotated[
        EstimatorKind, typer.Option(help="Who fits the model.")
    ] = EstimatorKind.NUMPY,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Rows to sample; default: as the model estimates.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampled rows.")] = 0,
    collect_hours: Annotated[
        float, typer.Option(min=0.0, help="How long to wait for more than the least holders.")
    ] = 24.0,
    config: SiteFile = None,
    error_file: ErrorFile = None,
    follow_parent: FollowParent = False,
    as_json: Json = False,
) -> None:
    """Drive one job as the estimator; stopped at any time, the same command goes on.

    With --config or --json, events are printed as JSON lines.
    """
    from parties.estimator.job import run_job  # only this role needs it
    from parties.local.progress import RunProgress

    def emit(event: "Event") -> None:
        sys.stdout.write(event.model_dump_json() + "\n")
        sys.stdout.flush()

    def drive() -> None:
        settings = _estimator_config(
            config, manifest, certificate, key, out, estimator, rows, seed, collect_hours
        )
        if config is not None or as_json:
            run_job(settings, emit)
            return
        with RunProgress() as progress:
            run_job(settings, progress.show)
        typer.echo(f"synthetic table: {settings.table}")

    _begin_child(follow_parent)
    guarded(drive, as_json, error_file)


def _begin_child(follow_parent: bool) -> None:
    if follow_parent:
        from parties.local.parent import follow_parent as follow  # children only

        follow()


def _identity(
    manifest: Path | None, certificate: Path | None, key: Path | None, kind: str
) -> "tuple[Path, Identity]":
    """Return the manifest's path and who this site is in it; ConfigError if it is no `kind`."""
    from parties.agreement.manifest import load_manifest, own_role
    from parties.identity.certificates import Identity, read_certificate

    if manifest is None or certificate is None or key is None:
        raise ConfigError("name the manifest, --cert and --key, or a file with --config")
    role = own_role(load_manifest(manifest), read_certificate(certificate))
    if role.kind != kind:
        raise ConfigError(f"{certificate} is the certificate of a {role.kind}, {role.name}; "
                          f"this command is for a {kind}")  # fmt: skip
    return manifest, Identity(role.name, certificate, key)


def _holders_config(
    config: Path | None,
    table: Path | None,
    manifest: Path | None,
    certificate: Path | None,
    key: Path | None,
    receipts: Path,
    outbox: Path | None,
    wait: float,
) -> "HoldersConfig":
    from parties.setup.config import HolderMember, HoldersConfig, load_holders_config

    if config is not None:
        return load_holders_config(config)
    if table is None:
        raise ConfigError("name this holder's TABLE, or a file with --config")
    path, identity = _identity(manifest, certificate, key, "holder")
    member = HolderMember(
        name=identity.name, certificate=identity.certificate_path, key=identity.key_path
    )
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return HoldersConfig(
        manifest=path,
        table=table,
        outbox=outbox or state / "distaim" / "outbox",
        receipts=receipts,
        members=[member],
        connect_timeout=wait,
    )


def _estimator_config(
    config: Path | None,
    manifest: Path | None,
    certificate: Path | None,
    key: Path | None,
    out: Path | None,
    estimator: EstimatorKind,
    rows: int | None,
    seed: int,
    collect_hours: float,
) -> "EstimatorConfig":
    from parties.setup.config import EstimatorConfig, load_estimator_config

    if config is not None:
        return load_estimator_config(config)
    if out is None:
        raise ConfigError("name a folder for the results with --out, or a file with --config")
    path, identity = _identity(manifest, certificate, key, "estimator")
    return EstimatorConfig(
        name=identity.name,
        manifest=path,
        certificate=identity.certificate_path,
        key=identity.key_path,
        estimator=estimator.value,
        rows=rows,
        sample_seed=seed,
        out=out,
        transcript=out / "transcript" / "estimator.jsonl",
        table=out / "synthetic.csv",
        collect_timeout=max(collect_hours * 3600, 1.0),
    )
