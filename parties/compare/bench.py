"""The bench of `distaim compare`: one table, its holders, every method, one way to score them."""

import dataclasses
import functools
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from aim_core.arrays import CodeTable
from aim_core.counts.marginals import count_marginals
from aim_core.counts.workload import maximal_cliques
from aim_core.domain import Clique
from aim_core.errors import TableError
from aim_core.extras import import_optional
from aim_core.mechanisms.aim import aim, drive
from aim_core.mechanisms.flaim_holder import FlaimHolder
from aim_core.mechanisms.flaim_terms import (
    FlaimSettings,
    Proportions,
    Variant,
    schedule,
    to_proportions,
)
from aim_core.mechanisms.plaintext import GrowingOracle, PlaintextOracle
from aim_core.mechanisms.requests import Oracle
from aim_core.models.descent import MirrorDescent
from aim_core.models.measurement import Model
from aim_core.privacy.noise_facts import Noise
from aim_core.studies.classifier import auc, default_target
from aim_core.studies.errors_of_tables import (
    marginal_errors,
    negative_log_likelihood,
    triples_outside,
    workload_errors,
)
from aim_core.studies.heterogeneity import heterogeneity
from aim_core.studies.splits import Owners, assign, check_split
from aim_core.studies.synthfs import synthfs
from aim_core.tables.files.reading import encoded_chunks
from aim_core.tables.schema import Schema
from aim_core.tables.schema_file import load_schema
from mpc.noise.kinds import NoiseKind
from mpc.steps.job import FRACTION_BITS
from parties.agreement.budget import Draws, budget, noise_terms, run_budget
from parties.agreement.choices import Choices
from parties.agreement.draft import draft_inputs
from parties.agreement.terms import Terms, read_terms
from parties.agreement.values import EngineKind
from parties.compare.rows import CENTRAL, Row, Source
from parties.compare.settings import SYNTHFS, CompareSettings, Task, variant_of
from parties.estimator.run import Outcome
from parties.federated.holder import FederatedHolder
from parties.federated.noise import federated_costs
from parties.federated.simulation import simulate
from parties.local.plaintext_noise import PlaintextNoise

N_PARTIES, THRESHOLD = 3, 1
"""The compute parties that DistAIM is compared with."""

_HELD_OUT = Fraction(1, 10)
_PUBLIC_SEED = 0
"""Of what is the same in all runs: which rows are held out, and SynthFS."""


@dataclass(frozen=True)
class Communication:
    """Bytes that a run sent; see `rows.Row`."""

    source: Source
    bytes_up: float = 0
    max_bytes_up: int = 0
    bytes_down: float = 0
    bytes_servers: int = 0


@dataclass(frozen=True)
class Finished:
    """What a method's run ends with. `seconds` are those of the run, without the scoring."""

    model: Model
    codes: CodeTable
    communication: Communication
    sigma: float
    rounds: int
    rho: Fraction
    rho_spent: Fraction
    seconds: float


class Bench:
    """Everything that the runs of one comparison share; each process has its own.

    A tenth of the rows is held out from all methods and scored on. Raises what is wrong with the
    table, the schema or the workload.
    """

    def __init__(self, settings: CompareSettings) -> None:
        self.settings = settings
        codes, self.schema, self._owners = _read(settings)
        check_split(settings.split, self.schema.domain, settings.target)
        order = np.random.default_rng(_PUBLIC_SEED).permutation(len(codes))
        n_held_out = int(len(codes) * _HELD_OUT)
        if n_held_out < 1 or len(codes) - n_held_out < settings.holders:
            raise TableError(
                f"{len(codes)} rows are too few for {settings.holders} holders and a tenth to be "
                "held out; take a larger table or fewer holders"
            )
        self._order = np.sort(order[n_held_out:])
        self.train, self.held_out = codes[self._order], codes[np.sort(order[:n_held_out])]
        self.inputs = draft_inputs(self.schema, settings.workload, settings.max_cells)
        self.outside = triples_outside(self.inputs.workload)
        wanted = maximal_cliques(self.inputs.workload)
        self.real = count_marginals([self.train], self.schema.domain, wanted)
        self.real_outside = count_marginals([self.train], self.schema.domain, self.outside)
        self.target = settings.target or default_target(self.schema.domain)
        if self.target is not None or settings.split == "cluster":
            import_optional("sklearn", "compare")  # to say that it is missing before the first run
        self.n_max = 2 ** len(self.train).bit_length() - 1

    @functools.lru_cache(maxsize=2)  # noqa: B019 - a bench lives as long as its process
    def owners(self, seed: int) -> Owners:
        """Return each training row's holder under a public seed."""
        if self._owners is not None:
            return self._owners[self._order]
        settings = self.settings
        return assign(
            [self.train], self.schema.domain, settings.holders, settings.split, seed, self.target
        )

    @functools.lru_cache(maxsize=2)  # noqa: B019 - as above
    def heterogeneity_tv(self, seed: int) -> float:
        """Return the mean total variation between the holders' and all one-way marginals."""
        cliques = [clique for clique in self.inputs.candidates if len(clique) == 1]
        found = heterogeneity(self.train, self.owners(seed), self.schema.domain, cliques)
        return found.mean

    def terms(self, task: Task) -> Terms:
        """Return a run's terms, as a consortium of N_PARTIES would have them."""
        asked = self.settings
        choices = Choices(
            workload=asked.workload,
            epsilon=task.epsilon,
            delta=asked.delta,
            threshold=THRESHOLD,
            rounds=asked.rounds,
            max_cells=asked.max_cells,
            max_model_mb=asked.max_model_mb,
            noise=NoiseKind.JOINT,
            engine=EngineKind.REPLICATED,
        )
        return read_terms(choices, N_PARTIES, task.seed, asked.participation)

    def run(self, task: Task, communication: Communication | None) -> Row:
        """Run a method in this process and score it.

        `communication` is that of the one run over MPC, for DistAIM by the plaintext oracle.
        """
        variant = variant_of(task.method)
        if variant is not None:
            finished = self._run_flaim(variant, task)
        else:
            finished = self._run_aim(task, communication)
        return self.row(task, finished, is_real_mpc=False)

    def row(self, task: Task, finished: Finished, *, is_real_mpc: bool) -> Row:
        """Score a finished run against the training rows and those held out."""
        domain, codes = self.schema.domain, finished.codes
        variant = variant_of(task.method)
        errors = workload_errors(self.real, codes, self.inputs.workload)
        outside = marginal_errors(self.real_outside, codes, domain, self.outside)
        score = None
        if self.target is not None:
            score = auc(codes, self.held_out, domain, self.target).value
        sent = finished.communication
        return Row(
            method=task.method,
            epsilon=task.epsilon,
            seed=task.seed,
            is_private=variant is None or variant.is_private,
            error_l1=errors.mean_l1,
            error_other_l1=sum(outside.values()) / len(outside) if outside else None,
            nll=negative_log_likelihood(finished.model, self.held_out),
            auc=score,
            bytes_up=float(sent.bytes_up),
            max_bytes_up=sent.max_bytes_up,
            bytes_down=float(sent.bytes_down),
            bytes_servers=sent.bytes_servers,
            communication=sent.source,
            is_real_mpc=is_real_mpc,
            rounds=finished.rounds,
            sigma=finished.sigma,
            rho=float(finished.rho),
            rho_spent=float(finished.rho_spent),
            model_total=float(finished.model.total),
            heterogeneity_tv=self.heterogeneity_tv(task.seed),
            seconds=finished.seconds,
        )

    def reference_auc(self) -> float | None:
        """Return the AUC of a classifier trained on the real rows; None without a target."""
        if self.target is None:
            return None
        return auc(self.train, self.held_out, self.schema.domain, self.target).value

    def _run_aim(self, task: Task, communication: Communication | None) -> Finished:
        """Run AIM by the plaintext oracle, over all rows or over those who have joined."""
        started = time.perf_counter()
        workload, terms = self.inputs.workload, self.terms(task)
        if task.method == CENTRAL:
            terms = dataclasses.replace(terms, participation=Fraction(1))
        n_holders = 1 if task.method == CENTRAL else self.settings.holders
        rho = run_budget(terms, workload).rho
        settings = terms.settings(rho, self.n_max, self.n_max, n_holders)
        noise, oracle = noise_terms(terms.costs), self._plaintext_oracle(task, terms)
        result = drive(aim(settings, workload, noise, MirrorDescent()), oracle)
        first = result.measurements[0].variance
        codes = _sample(result.model, task.seed)
        return Finished(
            model=result.model,
            codes=codes,
            communication=communication or Communication("none"),
            sigma=first**0.5,
            rounds=len(result.rounds),
            rho=rho,
            rho_spent=result.rho_spent,
            seconds=time.perf_counter() - started,
        )

    def _plaintext_oracle(self, task: Task, terms: Terms) -> Oracle:
        """Return who answers in place of the compute parties."""
        source = PlaintextNoise(1, 1, 1)
        if task.method == CENTRAL:
            return PlaintextOracle(self.schema.domain, self.real, source, FRACTION_BITS)
        joined, owners = terms.joining(self.settings.holders), self.owners(task.seed)
        workload = self.inputs.workload
        return GrowingOracle(workload, self.train, owners, joined, source, FRACTION_BITS)

    def _run_flaim(self, variant: Variant, task: Task) -> Finished:
        """Run a variant of FLAIM, with its holders and their secure aggregation."""
        started = time.perf_counter()
        workload, settings = self.inputs.workload, self._flaim_settings(variant, task)
        noise = noise_terms(federated_costs(self.settings.holders))
        holders = self._federated_holders(settings, task, noise)
        outcome = simulate(settings, workload, holders, self.n_max, noise, MirrorDescent())
        result, traffic = outcome.result, outcome.traffic
        codes = _sample(result.model, task.seed)
        sent = Communication(
            "measured",
            bytes_up=float(np.mean(traffic.up)),
            max_bytes_up=max(traffic.up),
            bytes_down=float(np.mean(traffic.down)),
        )
        return Finished(
            model=result.model,
            codes=codes,
            communication=sent,
            sigma=float(result.schedule.sigma2) ** 0.5,
            rounds=settings.rounds,
            rho=settings.rho,
            rho_spent=result.rho_spent,
            seconds=time.perf_counter() - started,
        )

    def _federated_holders(
        self, settings: FlaimSettings, task: Task, noise: Noise
    ) -> list[FederatedHolder]:
        """Return the holders with their rows of the table."""
        owners = self.owners(task.seed)
        truths = self._truths() if settings.variant is Variant.ORACLE else None
        return [
            FederatedHolder(
                number,
                self.inputs.workload,
                FlaimHolder(self.schema.domain, self.train[owners == number]),
                settings.rho,
                noise,
                truths=truths,
            )
            for number in range(self.settings.holders)
        ]

    def _flaim_settings(self, variant: Variant, task: Task) -> FlaimSettings:
        """Return a variant's settings with the rho that epsilon and delta pay for."""
        asked, terms = self.settings, self.terms(task)
        costs = federated_costs(asked.holders)

        def with_rho(rho: Fraction) -> FlaimSettings:
            return FlaimSettings(
                variant=variant,
                rho=rho,
                participation=terms.joining(asked.holders),
                rounds=asked.rounds,
                local_steps=asked.local_steps,
                alpha=terms.alpha,
                max_model_mb=float(terms.max_model_mb),
                seed=task.seed,
            )

        n_oneways = sum(len(clique) == 1 for clique in self.inputs.candidates)
        # how many marginals a record pays for does not depend on rho
        planned = schedule(with_rho(Fraction(1)), n_oneways, noise_terms(costs))
        draws = Draws(planned.n_measured, planned.n_chosen * len(self.inputs.candidates))
        return with_rho(budget(terms.epsilon.value, terms.delta.value, costs, draws).rho)

    def _truths(self) -> dict[Clique, Proportions]:
        """Return all holders' exact marginals, which only the oracle variant is told."""
        exact = count_marginals([self.train], self.schema.domain, self.inputs.candidates)
        return {
            clique: to_proportions(counts.astype(np.float64)) for clique, counts in exact.items()
        }


def from_outcome(
    bench: Bench, task: Task, outcome: Outcome, rho: Fraction, seconds: float
) -> Finished:
    """Return what a run over MPC ended with, in the terms of a comparison.

    Holders upload once; those who never join need not, and are not counted. Receipts and HTTP's
    framing, about a kilobyte per party, are not counted either.
    """
    facts = outcome.facts
    most = max(outcome.upload_bytes.values())
    joined = bench.terms(task).joining(bench.settings.holders).present(len(facts.rounds))
    servers = sum(step.bytes_sent for party in outcome.parties for step in party.steps.values())
    sent = Communication(
        "measured",
        bytes_up=most * len(joined) / bench.settings.holders,
        max_bytes_up=most,
        bytes_servers=servers,
    )
    return Finished(
        model=outcome.model,
        codes=outcome.codes,
        communication=sent,
        sigma=facts.rounds[0].true_sigma,
        rounds=len(facts.rounds),
        rho=rho,
        rho_spent=Fraction(facts.rho_spent_exact),
        seconds=seconds,
    )


def _read(
    settings: CompareSettings,
) -> tuple[CodeTable, Schema, Owners | None]:
    """Return all rows as codes, the schema, and the rows' holders if they come with the table."""
    if settings.table == SYNTHFS:
        held = synthfs(settings.holders, _PUBLIC_SEED)
        return held.codes, held.schema, held.owners
    schema = load_schema(Path(settings.schema_file or ""))
    chunks = list(encoded_chunks(Path(settings.table), schema))
    return np.concatenate(chunks), schema, None


def _sample(model: Model, seed: int) -> CodeTable:
    return model.sample(max(1, round(model.total)), np.random.default_rng(seed))
