"""`distaim audit` on the command line."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parties.cli.common import Json, guarded
from parties.errors import ExitCode

if TYPE_CHECKING:
    from parties.auditor.audit import Audit

app = typer.Typer()

_VERDICTS = {
    "ok": "everything that was checked is as it must be",
    "partial": "the job did not finish; as far as it went, it is as it must be",
    "failed": "something is not as it must be",
}


@app.command("audit")
def audit_command(
    run_dirs: Annotated[
        list[Path], typer.Argument(help="Folders with transcripts: parties', or a run's.")
    ],
    manifest: Annotated[
        Path | None, typer.Option(help="The manifest; default: manifest.json in a folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check transcripts: signatures, agreement, spending, policy. Exit code 5 on any error."""
    from parties.auditor.audit import audit  # the other commands need not wait for it

    def check() -> None:
        found = audit(run_dirs, manifest)
        typer.echo(json.dumps(_audit_json(found)) if as_json else _audit_text(found))
        if found.verdict == "failed":
            sys.exit(ExitCode.VIOLATION)

    guarded(check, as_json)


def _audit_json(found: "Audit") -> dict[str, object]:
    return {
        "verdict": found.verdict,
        "manifest": found.manifest,
        "parties": list(found.parties),
        "rounds": found.rounds,
        "rho_spent": str(found.rho_spent),
        "rho_budget": str(found.rho_budget),
        "findings": [finding.to_dict() for finding in found.findings],
    }


def _audit_text(found: "Audit") -> str:
    lines = [str(finding) for finding in found.findings]
    parties = ", ".join(map(str, found.parties)) or "none"
    lines.append(
        f"manifest {found.manifest[:12]}, transcripts of parties {parties}, {found.rounds} rounds, "
        f"rho spent {float(found.rho_spent):.6g} of {float(found.rho_budget):.6g}"
    )
    lines.append(f"{found.verdict}: {_VERDICTS[found.verdict]}")
    return "\n".join(lines)
