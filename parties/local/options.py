"""The options of `distaim run`, and what follows from them before anything runs."""

import dataclasses
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from aim_core.counts.marginals import count_marginals
from aim_core.counts.workload import maximal_cliques
from aim_core.domain import Clique
from aim_core.errors import TableError
from aim_core.mechanisms.aim_terms import AimSettings
from aim_core.privacy.noise_facts import Noise
from aim_core.privacy.participation import Participation
from aim_core.privacy.zcdp import parse_rational
from aim_core.studies.clinic import write_clinic
from aim_core.studies.splits import check_split, parse_kind
from aim_core.tables.files.reading import encoded_chunks
from aim_core.tables.schema import Schema, load_schema
from parties.agreement.budget import Budget
from parties.agreement.draft import (
    Derived,
    Terms,
    check_budget,
    check_participation,
    check_structure,
    derive,
    draft_inputs,
)
from parties.agreement.public_inputs import PublicInputs
from parties.errors import ConfigError
from parties.local.plaintext_noise import PlaintextNoise


@dataclass(frozen=True)
class RunOptions:
    """What the user asked for. `table` None is the demo table; `rounds` None is adaptive."""

    out: Path
    table: Path | None = None
    schema: Path | None = None
    epsilon: str = "1"
    delta: str = "1e-9"
    workload: str = "2way"
    max_cells: int | None = None
    max_model_mb: str = "80"
    rounds: int | None = None
    parties: int = 3
    threshold: int = 1
    holders: int = 10
    split: str = "iid"
    target: str | None = None
    participation: str = "1"
    oracle: Literal["mpc", "plaintext"] = "mpc"
    estimator: Literal["numpy", "mbi"] = "numpy"
    noise: Literal["joint", "dealers"] = "joint"
    engine: Literal["replicated", "shamir"] = "replicated"
    rows: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Prepared:
    """A checked run: what is public about it, and the user's own table.

    `real` are the table's exact maximal marginals; they serve the plaintext oracle and the final
    comparison, and the estimator's process never has them.
    """

    options: RunOptions
    table: Path
    real: dict[Clique, np.ndarray]
    n_rows: int
    derived: Derived

    @property
    def inputs(self) -> PublicInputs:
        """Return schema, workload and candidates."""
        return self.derived.inputs

    @property
    def noise(self) -> Noise:
        """Return what the noise costs, in the mechanism's terms."""
        return self.derived.noise

    @property
    def budget(self) -> Budget:
        """Return what epsilon and delta pay for."""
        return self.derived.budget

    @property
    def settings(self) -> AimSettings:
        """Return AIM's settings, with those who join in each round."""
        rate = parse_rational(self.options.participation, "participation")
        joined = Participation(self.options.holders, rate, self.seed)
        return dataclasses.replace(self.derived.settings, participation=joined)

    @property
    def seed(self) -> int:
        """Return the public seed."""
        return self.derived.terms.seed


def check_options(options: RunOptions) -> None:
    """Refuse options that cannot work, before any work; ConfigError says which and why."""
    if options.out.exists():
        raise ConfigError(
            f"{options.out} exists; nothing is overwritten, name a new folder with --out"
        )
    check_structure(options.parties, options.threshold)
    if options.holders < 1:
        raise ConfigError(f"{options.holders} holders; name at least 1")
    try:
        parse_kind(options.split)
    except TableError as error:
        raise ConfigError(str(error)) from error
    check_participation(options.participation)
    if options.table is not None and options.schema is None:
        raise ConfigError(
            "a table needs its public schema; give it with --schema FILE, or draft one with "
            f"`distaim schema {options.table}` and review it: what a draft takes from the data "
            "is not private"
        )
    if options.table is None and options.schema is not None:
        raise ConfigError("--schema without a TABLE; the demo table has its own schema")


def prepare(options: RunOptions) -> Prepared:
    """Read schema and table, and derive everything public.

    Raises what is wrong with them: ConfigError, or an AimError that says what to do.
    """
    check_budget(options.epsilon, options.delta)
    table, schema = _table_and_schema(options)
    inputs = draft_inputs(schema, options.workload, options.max_cells)
    check_split(options.split, schema.domain, options.target)
    codes = encoded_chunks(table, schema)
    real = count_marginals(codes, schema.domain, maximal_cliques(inputs.workload))
    n_rows = int(next(iter(real.values())).sum())
    terms = Terms(
        workload=options.workload,
        epsilon=options.epsilon,
        delta=options.delta,
        # The bound is public; as a power of two it tells no more than the table's magnitude.
        n_max=2 ** n_rows.bit_length() - 1,
        max_cells=options.max_cells,
        max_model_mb=options.max_model_mb,
        rounds=options.rounds,
        noise=options.noise,
        engine=options.engine,
        n_parties=options.parties,
        threshold=options.threshold,
        seed=secrets.randbits(32) if options.seed is None else options.seed,
        participation=options.participation,
    )
    return Prepared(options, table, real, n_rows, derive(terms, inputs))


def plaintext_noise(options: RunOptions) -> PlaintextNoise:
    """Return the plaintext oracle's noise."""
    if options.noise == "joint":
        return PlaintextNoise(1, 1, 1)
    honest = options.parties - options.threshold
    return PlaintextNoise(options.parties, honest, options.threshold + 1)


def _table_and_schema(options: RunOptions) -> tuple[Path, Schema]:
    if options.table is not None and options.schema is not None:
        if not options.table.is_file():
            raise ConfigError(f"there is no table {options.table}; check the path")
        return options.table, load_schema(options.schema)
    table, schema = write_clinic(options.out / "demo")
    return table, load_schema(schema)
