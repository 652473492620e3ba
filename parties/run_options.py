"""The options of `distaim run`, and what follows from them before anything runs."""

import secrets
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from aim_core.accounting import parse_rational
from aim_core.aim import AimSettings, Noise
from aim_core.demo import write_demo
from aim_core.domain import Clique
from aim_core.marginals import count_marginals
from aim_core.schema import Schema, load_schema
from aim_core.splits import KINDS
from aim_core.table import encoded_chunks
from aim_core.workload import Workload, closure, maximal_cliques, parse_workload
from mpc.access import AccessStructure
from mpc.job import noise_costs
from mpc.noise import NoiseCosts
from parties.errors import ConfigError
from parties.manifest import PublicInputs
from parties.mechanism import Budget, PlaintextNoise, noise_terms, run_budget

ALPHA = Fraction(9, 10)


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
    oracle: Literal["mpc", "plaintext"] = "mpc"
    estimator: Literal["numpy", "mbi"] = "numpy"
    noise: Literal["joint", "dealers"] = "joint"
    engine: Literal["replicated", "shamir"] = "replicated"
    rows: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Prepared:
    """A checked run: the public inputs, the bounds, the budget, and the user's own table.

    `real` are the table's exact maximal marginals; they serve the plaintext oracle and the final
    comparison, and the estimator's process never has them.
    """

    options: RunOptions
    table: Path
    inputs: PublicInputs
    real: dict[Clique, np.ndarray]
    n_rows: int
    noise: Noise
    budget: Budget
    settings: AimSettings
    seed: int


def check_options(options: RunOptions) -> None:
    """Refuse options that cannot work, before any work; ConfigError says which and why."""
    if options.out.exists():
        raise ConfigError(
            f"{options.out} exists; nothing is overwritten, name a new folder with --out"
        )
    if not 3 <= options.parties <= 7:
        raise ConfigError(f"{options.parties} compute parties; the protocol needs 3 to 7")
    if options.threshold < 1 or 2 * options.threshold >= options.parties:
        raise ConfigError(
            f"a threshold of {options.threshold} among {options.parties} parties; it must be at "
            "least 1 and below half of the parties"
        )
    if options.holders < 1:
        raise ConfigError(f"{options.holders} holders; name at least 1")
    if options.split not in KINDS:
        raise ConfigError(f"unknown split {options.split!r}; use one of: {', '.join(KINDS)}")
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
    costs = chosen_costs(options)
    _check_budget(options)
    table, schema = _table_and_schema(options)
    workload = parse_workload(options.workload, schema.domain, options.max_cells)
    inputs = PublicInputs(schema, workload, closure(workload))
    codes = encoded_chunks(table, schema)
    real = count_marginals(codes, schema.domain, maximal_cliques(workload))
    n_rows = int(next(iter(real.values())).sum())
    # The bound is public; as a power of two it tells no more than the table's magnitude.
    n_max = 2 ** n_rows.bit_length() - 1
    seed = secrets.randbits(32) if options.seed is None else options.seed
    budget = run_budget(options.epsilon, options.delta, costs, workload, options.rounds, ALPHA)
    settings = AimSettings(
        rho=budget.rho,
        n_max=n_max,
        y_max=n_max,
        rounds=options.rounds,
        max_model_mb=float(parse_rational(options.max_model_mb, "--max-model-mb")),
        seed=seed,
        alpha=ALPHA,
    )
    return Prepared(
        options, table, inputs, real, n_rows, noise_terms(costs), budget, settings, seed
    )


def chosen_costs(options: RunOptions) -> NoiseCosts:
    """Return what the chosen noise costs; the plaintext oracle's is accounted for alike."""
    return noise_costs(options.noise, AccessStructure(options.parties, options.threshold))


def plaintext_noise(options: RunOptions) -> PlaintextNoise:
    """Return the plaintext oracle's noise."""
    if options.noise == "joint":
        return PlaintextNoise(1, 1, 1)
    honest = options.parties - options.threshold
    return PlaintextNoise(options.parties, honest, options.threshold + 1)


def _check_budget(options: RunOptions) -> None:
    epsilon = parse_rational(options.epsilon, "--epsilon")
    delta = parse_rational(options.delta, "--delta")
    if epsilon <= 0:
        raise ConfigError(f"--epsilon is {options.epsilon}; a privacy budget must be above 0")
    if not 0 < delta < 1:
        raise ConfigError(f"--delta is {options.delta}; it must lie between 0 and 1")


def _table_and_schema(options: RunOptions) -> tuple[Path, Schema]:
    if options.table is not None and options.schema is not None:
        if not options.table.is_file():
            raise ConfigError(f"there is no table {options.table}; check the path")
        return options.table, load_schema(options.schema)
    table, schema = write_demo(options.out / "demo")
    return table, load_schema(schema)
