"""Commands that play a role in a job: party, submit, job."""

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aim_core.models.fitters import FitterKind
from parties.cli.common import Json, guarded
from parties.cli.options import takes_options
from parties.errors import ConfigError
from parties.files import check_folder_name
from parties.setup.table_options import TABLE_HELP, TableOptions

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


@dataclass(frozen=True)
class SubmitOptions(TableOptions):
    """The options of `distaim submit`: a file with everything, or what a usual site needs."""

    table: Annotated[Path | None, typer.Argument(help=f"This holder's table: {TABLE_HELP}.")] = None
    manifest: Annotated[Path | None, typer.Option(help="The approved manifest.")] = None
    certificate: CertificateFile = None
    key: KeyFile = None
    receipts: Annotated[Path, typer.Option(help="Folder for the parties' signed receipts.")] = Path(
        "receipts"
    )
    outbox: Annotated[
        Path | None, typer.Option(help="Private folder for the shares until all are received.")
    ] = None
    wait: Annotated[float, typer.Option(min=1, help="Seconds to try at a party.")] = 600
    config: SiteFile = None

    def settings(self) -> "HoldersConfig":
        """Return the site's config; ConfigError if it is not all there."""
        from parties.setup.config import HolderMember, HoldersConfig, load_holders_config

        if self.config is not None:
            return load_holders_config(self.config)
        if self.table is None:
            raise ConfigError("name this holder's TABLE, or a file with --config")
        path, identity = _identity(self.manifest, self.certificate, self.key, "holder")
        member = HolderMember(
            name=identity.name, certificate=identity.certificate_path, key=identity.key_path
        )
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        return HoldersConfig(
            manifest=path,
            table=self.table,
            format=self.table_format,
            outbox=self.outbox or state / "distaim" / "outbox",
            receipts=self.receipts,
            members=[member],
            connect_timeout=self.wait,
        )


@app.command("submit")
@takes_options(SubmitOptions)
def submit_command(
    options: SubmitOptions,
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
        settings = options.settings()
        sent = submit(settings, lambda text: typer.echo(text, err=True))
        if options.config is not None or as_json:
            typer.echo(UploadsSent(upload_bytes=sent).model_dump_json())
            return
        for name, n_bytes in sent.items():
            typer.echo(f"{name}: all parties have this upload ({n_bytes:,} bytes); nothing more is")
            typer.echo(f"needed from here. Keep the signed receipts in {settings.receipts}.")

    _begin_child(follow_parent)
    guarded(share, as_json, error_file)


@dataclass(frozen=True)
class JobOptions:
    """The options of `distaim job`: a file with everything, or what a usual estimator needs."""

    manifest: Annotated[Path | None, typer.Argument(help="The approved manifest.")] = None
    certificate: CertificateFile = None
    key: KeyFile = None
    out: Annotated[Path | None, typer.Option(help="Folder for the results.")] = None
    estimator: Annotated[FitterKind, typer.Option(help="Who fits the model.")] = FitterKind.NUMPY
    rows: Annotated[
        int | None, typer.Option(min=1, help="Rows to sample; default: as the model estimates.")
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampled rows.")] = 0
    collect_hours: Annotated[
        float, typer.Option(min=0.0, help="How long to wait for more than the least holders.")
    ] = 24.0
    config: SiteFile = None

    def settings(self) -> "EstimatorConfig":
        """Return the estimator's config; ConfigError if it is not all there."""
        from parties.setup.config import EstimatorConfig, load_estimator_config

        if self.config is not None:
            return load_estimator_config(self.config)
        if self.out is None:
            raise ConfigError("name a folder for the results with --out, or a file with --config")
        check_folder_name(self.out, "--out")
        path, identity = _identity(self.manifest, self.certificate, self.key, "estimator")
        return EstimatorConfig(
            name=identity.name,
            manifest=path,
            certificate=identity.certificate_path,
            key=identity.key_path,
            estimator=self.estimator,
            rows=self.rows,
            sample_seed=self.seed,
            out=self.out,
            transcript=self.out / "transcript" / "estimator.jsonl",
            table=self.out / "synthetic.csv",
            collect_timeout=max(self.collect_hours * 3600, 1.0),
        )


@app.command("job")
@takes_options(JobOptions)
def job_command(
    options: JobOptions,
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
        settings = options.settings()
        if options.config is not None or as_json:
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
    from parties.agreement.manifest import load_manifest
    from parties.agreement.roles import own_role
    from parties.identity.certificates import Identity, read_certificate

    if manifest is None or certificate is None or key is None:
        raise ConfigError("name the manifest, --cert and --key, or a file with --config")
    role = own_role(load_manifest(manifest), read_certificate(certificate))
    if role.kind != kind:
        raise ConfigError(f"{certificate} is the certificate of a {role.kind}, {role.name}; "
                          f"this command is for a {kind}")  # fmt: skip
    return manifest, Identity(role.name, certificate, key)
