"""What follows from the options of `distaim run` before anything runs."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aim_core.counts.marginals import count_marginals
from aim_core.counts.workload import maximal_cliques
from aim_core.domain import Clique
from aim_core.mechanisms.aim_terms import AimSettings
from aim_core.privacy.noise_facts import Noise
from aim_core.studies.clinic import write_clinic
from aim_core.studies.splits import check_split, parse_kind
from aim_core.tables.cells import Chunk
from aim_core.tables.files.formats import TableSource
from aim_core.tables.files.reading import coded_chunks, read_chunks
from aim_core.tables.schema import Schema
from aim_core.tables.schema_file import load_schema
from mpc.noise.kinds import NoiseKind
from mpc.noise.sources import SystemSampler
from parties.agreement.budget import Budget
from parties.agreement.draft import Derived, derive, draft_inputs
from parties.agreement.public_inputs import PublicInputs
from parties.agreement.terms import Terms, read_terms
from parties.agreement.values import refused_as_config_error
from parties.errors import ConfigError
from parties.files import check_folder_name
from parties.local.options import OracleKind, RunOptions
from parties.local.plaintext_noise import DryRunSampler, PlaintextNoise


@dataclass(frozen=True)
class Prepared:
    """A checked run: what is public about it, and the user's own table.

    `notices` say what the schema's rules made fit, for the owner. `real` are the table's exact
    maximal marginals; they serve the plaintext oracle and the final comparison, and the estimator's
    process never has them. `is_draft` tells that the schema is marked as a draft.
    """

    options: RunOptions
    table: TableSource
    real: dict[Clique, np.ndarray]
    n_rows: int
    derived: Derived
    is_draft: bool
    notices: Sequence[str]

    @property
    def inputs(self) -> PublicInputs:
        """Return schema, workload and candidates."""
        return self.derived.inputs

    @property
    def schema(self) -> Schema:
        """Return the schema with its mark, if it is a draft."""
        return replace(self.inputs.schema, draft=self.is_draft)

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
        return self.derived.settings(self.options.holders)

    @property
    def seed(self) -> int:
        """Return the public seed."""
        return self.derived.terms.seed


def check_options(options: RunOptions) -> None:
    """Refuse options that cannot work, before any work; ConfigError says which and why."""
    check_folder_name(options.out, "--out")
    if options.out.exists():
        raise ConfigError(
            f"{options.out} exists; nothing is overwritten, name a new folder with --out"
        )
    _terms(options)
    if options.dry_run_noise is not None and options.oracle is not OracleKind.PLAINTEXT:
        raise ConfigError(
            "--dry-run-noise takes noise from a public seed, so it gives no privacy and is refused "
            "wherever there is some to lose; add --oracle plaintext for a dry run, or leave it out"
        )
    if options.holders < 1:
        raise ConfigError(f"{options.holders} holders; name at least 1")
    with refused_as_config_error():
        parse_kind(options.split)
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
    table, schema = _table_and_schema(options)
    return prepare_chunks(options, table, schema, read_chunks(table, skip=schema.unread))


def prepare_chunks(
    options: RunOptions, table: TableSource, schema: Schema, chunks: Iterable[Chunk]
) -> Prepared:
    """Derive everything public for a schema and the chunks of a table.

    `table` is where holders will read it; nobody does with the plaintext oracle. Raises what
    `prepare` does.
    """
    terms = _terms(options)
    reviewed = replace(schema, draft=False)  # the user has been warned; no party has to be
    inputs = draft_inputs(reviewed, terms.workload, terms.max_cells)
    check_split(options.split, schema.domain, options.target)
    notices: list[str] = []
    codes = coded_chunks(chunks, schema, notices.append)
    real = count_marginals(codes, schema.domain, maximal_cliques(inputs.workload))
    n_rows = int(next(iter(real.values())).sum())
    # The bound is public; as a power of two it tells no more than the table's magnitude.
    n_max = 2 ** n_rows.bit_length() - 1
    derived = derive(terms, inputs, n_max)
    return Prepared(options, table, real, n_rows, derived, schema.draft, notices)


def plaintext_noise(options: RunOptions) -> PlaintextNoise:
    """Return the plaintext oracle's noise: private, or that of a dry run."""
    seed = options.dry_run_noise
    sampler = SystemSampler() if seed is None else DryRunSampler(seed)
    if options.noise is NoiseKind.JOINT:
        return PlaintextNoise(1, 1, 1, sampler)
    honest = options.parties - options.threshold
    return PlaintextNoise(options.parties, honest, options.threshold + 1, sampler)


def privacy_warnings(prepared: Prepared) -> list[str]:
    """Return what has to be said of a run that is not private, or whose schema may not be."""
    draft = (
        "the schema is marked as a draft: what it took from the data (ranges, categories, listed "
        "numbers) is not covered by the guarantee and shows in the synthetic table. Replace it by "
        "what is publicly known and remove `draft = true` before you share anything"
    )
    drafted, options = [draft] if prepared.is_draft else [], prepared.options
    if options.dry_run_noise is None:
        return drafted
    text = (
        f"NO PRIVACY: the noise of this dry run comes from the public seed {options.dry_run_noise},"
        " so anybody can take it away again. Share nothing of this run, neither the synthetic "
        "table nor the model, if the table is not public; run again without --dry-run-noise for "
        "results with a guarantee."
    )
    return [text, *drafted]


def _terms(options: RunOptions) -> Terms:
    given = [seed for seed in (options.seed, options.dry_run_noise) if seed is not None]
    seed = given[0] if given else secrets.randbits(32)
    return read_terms(options, options.parties, seed, options.participation)


def _table_and_schema(options: RunOptions) -> tuple[TableSource, Schema]:
    if options.table is not None and options.schema is not None:
        if not options.table.is_file():
            raise ConfigError(f"there is no table {options.table}; check the path")
        return TableSource(options.table, options.table_format), load_schema(options.schema)
    table, schema = write_clinic(options.out / "demo")
    return TableSource(table), load_schema(schema)
