"""`distaim init` on the command line."""

import datetime as dt
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mpc.noise.kinds import NoiseKind
from parties.agreement.values import EngineKind
from parties.cli.common import Json, guarded, warn_of_expiry, warn_of_noise
from parties.cli.options import takes_options
from parties.files import check_folder_name
from parties.local.options import ADAPTIVE, ROUNDS, WORKLOAD_HELP

if TYPE_CHECKING:
    from parties.agreement.manifest import Manifest
    from parties.setup.init import Answers

app = typer.Typer()


@dataclass(frozen=True)
class InitOptions:
    """The options of `distaim init`; None is for the wizard to ask for, or its default."""

    folder: Annotated[Path, typer.Argument(help="Folder for manifest.toml.")]
    schema: Annotated[Path | None, typer.Option(help="Public schema, TOML or JSON.")] = None
    n_max: Annotated[
        int | None, typer.Option(min=1, help="Public bound on all tables' rows together.")
    ] = None
    party: Annotated[
        list[str] | None, typer.Option(help="NAME=HOST:HTTPS_PORT:MPC_PORT=CERTIFICATE")
    ] = None
    holder: Annotated[list[str] | None, typer.Option(help="NAME=CERTIFICATE")] = None
    estimator: Annotated[str | None, typer.Option(help="NAME=CERTIFICATE")] = None
    workload: Annotated[str | None, typer.Option(help=f"Default 2way. {WORKLOAD_HELP}")] = None
    epsilon: Annotated[str | None, typer.Option(help="Exact; default 1.")] = None
    delta: Annotated[str | None, typer.Option(help="Exact; default 1e-9.")] = None
    threshold: Annotated[
        int | None, typer.Option(help="Parties that may collude; default: all below half.")
    ] = None
    min_holders: Annotated[
        int | None, typer.Option(min=1, help="Holders that must upload; default: all.")
    ] = None
    expires: Annotated[
        str | None, typer.Option(help="First day (UTC) that it is void; default in 90 days.")
    ] = None
    rounds: Annotated[int | None, ROUNDS] = field(default=None, metadata=ADAPTIVE)
    max_cells: Annotated[
        int | None, typer.Option(min=1, help="Leave out marginals with more cells.")
    ] = None
    max_model_mb: Annotated[str, typer.Option(help="Largest model, in megabytes.")] = "80"
    noise: Annotated[NoiseKind, typer.Option(help="How noise is made.")] = NoiseKind.JOINT
    engine: Annotated[EngineKind, typer.Option(help="Secure engine.")] = EngineKind.REPLICATED


@app.command("init")
@takes_options(InitOptions)
def init_command(options: InitOptions, as_json: Json = False) -> None:
    """Draft the manifest of a job; a wizard asks for what is needed and not given."""
    from parties.setup.init import draft  # only this command needs it

    def write() -> None:
        check_folder_name(options.folder, "FOLDER")
        _write_draft(draft(_answers(options)), options.folder, as_json)

    guarded(write, as_json)


def _answers(given: InitOptions) -> "Answers":
    """Return what the options say and the user answers, asked in this order."""
    from parties.cli.wizard import Wizard, whole_number
    from parties.setup import init

    needed = (given.schema, given.n_max, given.party, given.holder, given.estimator)
    wizard = Wizard(asking=None in needed)
    path = wizard.one(_text(given.schema), "Public schema, a file", None, Path)
    parties = wizard.several(given.party, "Compute party", init.PARTY_FORM, init.read_party, 3)
    holders = wizard.several(given.holder, "Data holder", init.MEMBER_FORM, init.read_member, 1)
    most, everyone = str((len(parties) - 1) // 2), str(len(holders))
    return init.Answers(
        schema=path,
        parties=parties,
        holders=holders,
        estimator=wizard.one(
            given.estimator, f"Estimator, {init.MEMBER_FORM}", None, init.read_member
        ),
        n_max=wizard.one(
            _text(given.n_max), "Public bound on all tables' rows together", None, whole_number
        ),
        workload=wizard.one(given.workload, "Workload", "2way", str),
        epsilon=wizard.one(given.epsilon, "Privacy budget epsilon", "1", str),
        delta=wizard.one(given.delta, "Privacy budget delta", "1e-9", str),
        threshold=wizard.one(
            _text(given.threshold), "How many parties may collude", most, whole_number
        ),
        min_holders=wizard.one(
            _text(given.min_holders), "How many holders must upload", everyone, whole_number
        ),
        expires=wizard.one(
            given.expires, "First day (UTC) on which it is void", _in_days(90), init.read_date
        ),
        rounds=given.rounds,
        max_cells=given.max_cells,
        max_model_mb=given.max_model_mb,
        noise=given.noise,
        engine=given.engine,
    )


def _write_draft(manifest: "Manifest", folder: Path, as_json: bool) -> None:
    from parties.setup.init import write_draft  # only this command needs it

    path = write_draft(manifest, folder)
    warn_of_expiry(manifest)
    warn_of_noise(manifest)
    if as_json:
        typer.echo(json.dumps({"manifest": str(path), "digest": manifest.digest}))
        return
    typer.echo(
        f"wrote {path}, hash {manifest.digest}\n"
        "Read it, send it to all sites, and have every compute party run `distaim approve`."
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _in_days(days: int) -> str:
    return (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=days)).isoformat()
