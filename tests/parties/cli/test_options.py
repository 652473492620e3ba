"""Commands whose options are the fields of a dataclass."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner, Result

from mpc.noise.kinds import NoiseKind
from parties.cli.init import InitOptions
from parties.cli.options import takes_options
from parties.cli.roles import JobOptions, SubmitOptions
from parties.local.options import ADAPTIVE, ROUNDS, RunOptions


@dataclass(frozen=True, kw_only=True)
class Base:
    rounds: int | None
    noise: NoiseKind


@dataclass(frozen=True, kw_only=True)
class Options(Base):
    out: Annotated[Path, typer.Option(help="Where to.")]
    table: Annotated[Path | None, typer.Argument(help="From where.")] = None
    noise: Annotated[NoiseKind, typer.Option(help="Which.")] = NoiseKind.JOINT
    rounds: Annotated[int | None, ROUNDS] = field(default=None, metadata=ADAPTIVE)


def invoke(*words: str) -> tuple[Result, list[tuple[Options, bool]]]:
    app, taken = typer.Typer(), []

    @app.command()
    @takes_options(Options)
    def command(options: Options, loud: bool = False) -> None:
        """Take options."""
        taken.append((options, loud))

    return CliRunner().invoke(app, list(words)), taken


def test_a_command_gets_the_dataclass_with_what_was_given() -> None:
    result, taken = invoke("t.csv", "--out", "x", "--noise", "dealers", "--rounds", "3", "--loud")
    assert result.exit_code == 0, result.output
    wanted = Options(out=Path("x"), table=Path("t.csv"), noise=NoiseKind.DEALERS, rounds=3)
    assert taken == [(wanted, True)]
    assert isinstance(taken[0][0].noise, NoiseKind)


def test_defaults_are_those_of_the_dataclass() -> None:
    assert invoke("--out", "x")[1] == [(Options(out=Path("x")), False)]
    assert invoke("--out", "x", "--rounds", "adaptive")[1] == [(Options(out=Path("x")), False)]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "--out"),
        (["--out", "x", "--noise", "loud"], "--noise"),
        (["--out", "x", "--rounds", "0"], "neither adaptive nor a number"),
    ],
)
def test_what_is_missing_or_wrong_is_named(words: list[str], named: str) -> None:
    result, taken = invoke(*words)
    assert (result.exit_code, taken) == (2, [])
    assert named in result.output


def test_help_has_the_fields_in_their_own_order_and_the_docstring() -> None:
    text = invoke("--help")[0].output
    places = [
        text.index(word) for word in ("Take options.", "--out", "--noise", "--rounds", "--loud")
    ]
    assert places == sorted(places)
    assert "Where to." in text
    assert "adaptive]" in text


@pytest.mark.parametrize("kind", [RunOptions, InitOptions, SubmitOptions, JobOptions])
def test_every_command_of_many_options_can_be_made(kind: type[object]) -> None:
    app = typer.Typer()
    app.command()(takes_options(kind)(lambda _options: None))
    assert CliRunner().invoke(app, ["--help"]).exit_code == 0


def test_help_loads_no_arithmetic() -> None:
    program = (
        "import sys, parties.cli.app\n"
        "print([name for name in ('numpy', 'pandas', 'scipy', 'mpyc') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert done.stdout.strip() == b"[]"
