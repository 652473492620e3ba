"""`distaim estimate` on the command line."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parties.cli.common import Json, guarded

if TYPE_CHECKING:
    from parties.forecast.forecast import Forecast

app = typer.Typer()


@app.command("estimate")
def forecast_command(
    manifest: Annotated[Path, typer.Argument(help="The manifest, TOML or JSON; no table.")],
    bandwidth: Annotated[
        str | None, typer.Option(help="Each site's line, such as 100mbit; default: one machine.")
    ] = None,
    rtt: Annotated[str | None, typer.Option(help="Round trip between sites, such as 20ms.")] = None,
    holders: Annotated[
        int | None, typer.Option(min=1, help="How many upload; default: all in the manifest.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a job will take: time, bytes, memory, rounds, budget. Takes some seconds."""
    from parties.agreement.manifest import load_manifest
    from parties.forecast.forecast import forecast  # see above
    from parties.forecast.steps import Link

    link = None
    if bandwidth is not None or rtt is not None:
        link = Link(
            _quantity(bandwidth or "100mbit", _BANDWIDTHS, "--bandwidth"),
            _quantity(rtt or "20ms", _TIMES, "--rtt"),
        )

    def show() -> None:
        found = forecast(load_manifest(manifest), link, holders)
        typer.echo(json.dumps(found.to_dict()) if as_json else _forecast_text(found))

    guarded(show, as_json)


_BANDWIDTHS = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def _quantity(text: str, units: dict[str, float], option: str) -> float:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([a-z]+)", text.strip().lower())
    if match is None or match[2] not in units or float(match[1]) <= 0:
        raise typer.BadParameter(
            f"{text!r} is not a number above 0 with one of {', '.join(units)}", param_hint=option
        )
    return float(match[1]) * units[match[2]]


def _forecast_text(found: "Forecast") -> str:
    head = f"{'step':16} {'bytes/party':>14} {'rounds':>8} {'seconds':>9}  bytes and rounds"
    lines = [head]
    for step in found.steps:
        row = f"{step.step:16} {step.n_bytes:14,} {step.rounds:8,} {step.seconds:9.2f}"
        spent = f", rho {step.rho:.6g}" if step.rho else ""
        most = f", at most {step.most_bytes:,} bytes (bound)" if step.most_bytes else ""
        lines.append(f"{row}  {step.basis}{spent}{most}")
    rounds = sum(step.rounds for step in found.steps)
    lines.append(f"{'all':16} {found.bytes_sent_per_party:14,} {rounds:8,} {found.seconds:9.2f}")
    uploads = f"{found.upload_bytes_per_holder:,} bytes per holder, {found.holders} holders"
    budget = f"rho {found.rho_budget:.6g}, first sigma {found.sigma_first:.4g}"
    reserved = f"part of delta set aside {found.delta_reserved:.3g}"
    sizes = f"{found.candidates:,} candidates, {found.cells:,} cells"
    lines.append(f"upload (exact): {uploads}")
    lines.append(f"budget (exact): {budget}, {reserved}; {sizes}")
    lines.append(f"schedule: {found.rounds} rounds, at most {found.rounds_most} (bound)")
    lines.append(f"memory (estimate): {found.memory_mb_per_party:,} MB per party")
    lines.append("assumed:")
    lines.extend(f"- {text}" for text in found.assumptions)
    lines.extend(f"warning: {text}" for text in found.warnings)
    return "\n".join(lines)
