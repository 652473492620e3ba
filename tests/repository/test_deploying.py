"""docs/deploying.md and deploy/: sample settings parse, commands and quoted messages exist."""

import configparser
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from parties.setup.config import (
    EstimatorConfig,
    HolderMember,
    HoldersConfig,
    PartyConfig,
    load_estimator_config,
    load_holders_config,
    load_party_config,
)
from tests.support.documents import GUIDE, ROOT, calls, commands, options_of

DEPLOY = ROOT / "deploy"
TEXT = GUIDE.read_text("utf-8")
SAMPLES: dict[str, tuple[Callable[[Path], BaseModel], type[BaseModel]]] = {
    "party-a.toml": (load_party_config, PartyConfig),
    "holder.toml": (load_holders_config, HoldersConfig),
    "estimator.toml": (load_estimator_config, EstimatorConfig),
}
ROLES = {"keys", "init", "approve", "doctor", "party", "estimate", "submit", "job", "audit"}


def with_all_keys(name: str) -> str:
    """Return a sample's text with the keys that it shows as comments switched on."""
    return re.sub(r"^# (\w+ = )", r"\1", (DEPLOY / name).read_text("utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_parse(name: str) -> None:
    SAMPLES[name][0](DEPLOY / name)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_show_every_key_with_its_default(name: str, tmp_path: Path) -> None:
    load, kind = SAMPLES[name]
    raw = tomllib.loads(with_all_keys(name))
    assert set(raw) == set(kind.model_fields)
    (tmp_path / name).write_text(with_all_keys(name), "utf-8")
    load(tmp_path / name)
    shown = set(raw) - set(tomllib.loads((DEPLOY / name).read_text("utf-8")))
    for key in shown - {"rows", "target", "format"}:
        assert raw[key] == kind.model_fields[key].default, key


def test_the_sample_holder_shows_every_key_of_a_member() -> None:
    (member,) = tomllib.loads(with_all_keys("holder.toml"))["members"]
    assert set(member) == set(HolderMember.model_fields)


def test_the_guide_walks_through_every_command() -> None:
    assert {call[0] for call in calls(TEXT)} == ROLES


@pytest.mark.parametrize("call", calls(TEXT), ids=" ".join)
def test_commands_of_the_guide_parse(call: list[str]) -> None:
    name, *arguments = call
    command = commands()[name]
    assert {word for word in arguments if word.startswith("--")} <= options_of(command)
    command.make_context(name, list(arguments))


def test_quoted_messages_are_the_programs() -> None:
    rows = re.findall(r"^\| (`.*?) \|", TEXT.partition("## Troubleshooting")[2], re.MULTILINE)
    quoted = [text for row in rows for text in re.findall(r"`([^`]+)`", row)]
    folders = (ROOT / package for package in ("aim_core", "mpc", "parties"))
    sources = "".join(
        path.read_text("utf-8") for folder in folders for path in folder.rglob("*.py")
    )
    assert len(quoted) > 10
    assert [text for text in quoted if text not in sources] == []


def test_unit_and_containers_start_a_party() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.read(DEPLOY / "distaim-party.service")
    program, *arguments = unit["Service"]["ExecStart"].split()
    assert Path(program).name == "distaim"
    compose = (DEPLOY / "compose.yaml").read_text("utf-8")
    (listed,) = re.findall(r"command: (\[.*\])", compose)
    assert 'ENTRYPOINT ["distaim"]' in (DEPLOY / "Dockerfile").read_text("utf-8")
    for name, *rest in (arguments, json.loads(listed)):
        commands()[name].make_context(name, rest)


def test_what_was_not_run_says_so() -> None:
    for name in ("distaim-party.service", "Dockerfile", "compose.yaml"):
        text = (DEPLOY / name).read_text("utf-8")
        assert re.search(r"An example: .*\bnot\b\W+(built or )?run", text, re.DOTALL), name
