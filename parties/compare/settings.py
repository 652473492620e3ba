"""What `distaim compare` is asked, checked before any work."""

import json
from dataclasses import dataclass
from pathlib import Path

from aim_core.mechanisms.flaim_terms import Variant
from aim_core.models.junction_tree import check_model_mb
from aim_core.privacy.participation import check_rate
from aim_core.privacy.zcdp import check_budget, parse_rational
from aim_core.studies.splits import parse_kind
from parties.agreement.values import Frozen, refused_as_config_error
from parties.compare.rows import DISTAIM, METHODS
from parties.errors import ConfigError
from parties.files import write_whole

SYNTHFS = "synthfs"
"""Named in place of a table: the generated one whose holders differ in their features."""

_MAY_GROW = ("methods", "epsilons", "seeds")


class CompareSettings(Frozen):
    """What decides the rows. Numbers that budgets depend on are exact texts.

    `table_sha256` is the hash of the table's file, empty for SYNTHFS. With `plaintext_utility`,
    DistAIM's utility comes from the plaintext oracle and its communication from one run over MPC.
    """

    table: str
    table_sha256: str
    schema_file: str | None
    methods: list[str]
    holders: int
    participation: str
    rounds: int
    local_steps: int
    split: str
    target: str | None
    epsilons: list[str]
    delta: str
    seeds: int
    workload: str
    max_cells: int | None
    max_model_mb: str
    plaintext_utility: bool


@dataclass(frozen=True)
class Task:
    """One run: a row to be."""

    method: str
    epsilon: str
    seed: int

    def __str__(self) -> str:
        return f"{self.method}, epsilon {self.epsilon}, seed {self.seed}"


def tasks(settings: CompareSettings) -> list[Task]:
    """Return all runs, seed by seed, so that an interrupted comparison covers all methods."""
    return [
        Task(method, epsilon, seed)
        for seed in range(settings.seeds)
        for epsilon in settings.epsilons
        for method in settings.methods
    ]


def check_settings(settings: CompareSettings) -> None:
    """Refuse settings that cannot work; ConfigError and MechanismError say which and why."""
    unknown = [method for method in settings.methods if method not in METHODS]
    if unknown or not settings.methods or len(set(settings.methods)) < len(settings.methods):
        raise ConfigError(
            f"the methods {', '.join(settings.methods) or '(none)'} cannot be compared; name each "
            f"once, out of: {', '.join(METHODS)}"
        )
    if settings.holders < 1 or settings.seeds < 1:
        raise ConfigError("a comparison needs at least 1 holder and 1 seed")
    with refused_as_config_error():
        check_rate(parse_rational(settings.participation, "participation"))
        delta = parse_rational(settings.delta, "delta")
        for epsilon in settings.epsilons or [""]:
            check_budget(parse_rational(epsilon, "epsilon"), delta)
        parse_kind(settings.split)
        check_model_mb(parse_rational(settings.max_model_mb, "max_model_mb"))
    _check_table(settings)


def _check_table(settings: CompareSettings) -> None:
    if settings.table == SYNTHFS:
        if settings.schema_file is not None:
            raise ConfigError(f"--schema with {SYNTHFS}; the generated table has its own schema")
        if DISTAIM in settings.methods and not settings.plaintext_utility:
            raise ConfigError(
                f"the holders of {SYNTHFS} come with the table, and a run over MPC splits a table "
                "itself; add --plaintext-utility"
            )
    elif settings.schema_file is None:
        raise ConfigError(
            "a table needs its public schema; give it with --schema FILE, or draft one with "
            f"`distaim schema {settings.table}` and review it"
        )


def load_or_save(settings: CompareSettings, path: Path) -> None:
    """Write the settings into a new comparison's folder; compare them with those that are there.

    Methods, epsilons and seeds may be added to later. ConfigError names what else has changed.
    """
    if path.exists():
        known = json.loads(path.read_text("utf-8"))
        now = settings.model_dump()
        changed = [key for key in now if key not in _MAY_GROW and known.get(key) != now[key]]
        if changed:
            raise ConfigError(
                f"{path.parent} holds a comparison with another {', '.join(changed)}; its rows "
                "would not compare: name a new folder with --out"
            )
    write_whole(path, settings.model_dump_json(indent=1))


def variant_of(method: str) -> Variant | None:
    """Return FLAIM's variant of that name, None for central AIM and DistAIM."""
    return Variant(method) if method in set(Variant) else None
