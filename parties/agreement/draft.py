"""From what a consortium agrees on to its manifest; `distaim init` and `distaim run` begin here."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from aim_core.counts.workload import closure, parse_workload
from aim_core.mechanisms.aim_terms import AimSettings
from aim_core.privacy.noise_facts import Noise
from aim_core.privacy.zcdp import parse_rational
from aim_core.tables.schema import Schema
from mpc.noise.sources import NoiseCosts, NoiseKind
from mpc.session.access import AccessStructure
from mpc.steps.job import noise_costs
from parties.agreement.budget import Budget, first_sigma2, noise_terms, run_budget
from parties.agreement.manifest import PROTOCOL, Manifest, Mechanism, Member, PartyEntry, time_text
from parties.agreement.public_inputs import PublicInputs
from parties.errors import ConfigError

ALPHA = Fraction(9, 10)
"""Part of a round's budget that measures; the rest selects."""


@dataclass(frozen=True)
class Terms:
    """What a consortium chooses; budgets are exact texts, `rounds` None is adaptive.

    `n_max` bounds the records of all holders together, `max_cells` the cells of a marginal in
    the workload, `max_model_mb` the model. `participation` is the rate at which holders join in a
    round. `seed` is public.
    """

    workload: str
    epsilon: str
    delta: str
    n_max: int
    max_cells: int | None
    max_model_mb: str
    rounds: int | None
    noise: Literal["joint", "dealers"]
    engine: Literal["replicated", "shamir"]
    n_parties: int
    threshold: int
    seed: int
    participation: str = "1"

    @property
    def costs(self) -> NoiseCosts:
        """Return what the chosen kind of noise costs."""
        return noise_costs(NoiseKind(self.noise), AccessStructure(self.n_parties, self.threshold))


@dataclass(frozen=True)
class Derived:
    """What follows from the terms and the public inputs: noise, budget, AIM's settings."""

    terms: Terms
    inputs: PublicInputs
    noise: Noise
    budget: Budget
    settings: AimSettings


@dataclass(frozen=True)
class Members:
    """Who takes part; a party's place in the list is its number."""

    parties: Sequence[PartyEntry]
    holders: Sequence[Member]
    estimator: Member
    min_holders: int


def draft_inputs(schema: Schema, workload: str, max_cells: int | None) -> PublicInputs:
    """Return the public inputs for a workload as a user writes it; AimError if it does not fit."""
    parsed = parse_workload(workload, schema.domain, max_cells)
    return PublicInputs(schema, parsed, closure(parsed))


def check_structure(n_parties: int, threshold: int) -> None:
    """Refuse numbers of parties that the protocol does not have; ConfigError says why."""
    if not 3 <= n_parties <= 7:
        raise ConfigError(f"{n_parties} compute parties; the protocol needs 3 to 7")
    if threshold < 1 or 2 * threshold >= n_parties:
        raise ConfigError(
            f"a threshold of {threshold} among {n_parties} parties; it must be at least 1 and "
            "below half of the parties"
        )


def check_budget(epsilon: str, delta: str) -> None:
    """Refuse a privacy budget that is none; ConfigError says why."""
    if parse_rational(epsilon, "epsilon") <= 0:
        raise ConfigError(f"epsilon is {epsilon}; a privacy budget must be above 0")
    if not 0 < parse_rational(delta, "delta") < 1:
        raise ConfigError(f"delta is {delta}; it must lie between 0 and 1")


def check_participation(rate: str) -> None:
    """Refuse a rate at which nobody, or more than everybody, would join; ConfigError says why."""
    if not 0 < parse_rational(rate, "participation") <= 1:
        raise ConfigError(
            f"a participation of {rate}; it is the rate at which holders join in each round, above "
            "0 and at most 1"
        )


def derive(terms: Terms, inputs: PublicInputs) -> Derived:
    """Turn the terms into a budget and AIM's settings; AimError for a budget too small."""
    budget = run_budget(
        terms.epsilon, terms.delta, terms.costs, inputs.workload, terms.rounds, ALPHA
    )
    settings = AimSettings(
        rho=budget.rho,
        n_max=terms.n_max,
        y_max=terms.n_max,
        rounds=terms.rounds,
        max_model_mb=float(parse_rational(terms.max_model_mb, "max_model_mb")),
        seed=terms.seed,
        alpha=ALPHA,
    )
    return Derived(terms, inputs, noise_terms(terms.costs), budget, settings)


def build_manifest(derived: Derived, members: Members, expires: dt.datetime) -> Manifest:
    """Return the manifest of a job that nothing is started for from `expires` on."""
    from aim_core.models.fitters import make_fitter  # loaded when first needed

    terms, settings, inputs = derived.terms, derived.settings, derived.inputs
    largest = first_sigma2(settings, inputs.workload, derived.noise, make_fitter("numpy"))
    return Manifest.parse(
        {
            "protocol": PROTOCOL,
            "expires": time_text(expires),
            "schema": inputs.schema.to_dict(),
            # the cliques below are what counts; a file's folder is of no interest to others
            "workload": Path(terms.workload).name,
            "cliques": [list(clique) for clique in inputs.workload.cliques],
            "max_cells": terms.max_cells,
            "mechanism": _mechanism(derived),
            "n_max": settings.n_max,
            "y_max": settings.y_max,
            # the last round spends what is left: never on less than the round before it
            "sigma2_max": str(Fraction(int(2 * largest) + 1)),
            "noise": terms.noise,
            "engine": terms.engine,
            "threshold": terms.threshold,
            "min_holders": members.min_holders,
            "parties": [party.model_dump() for party in members.parties],
            "holders": [holder.model_dump() for holder in members.holders],
            "estimator": members.estimator.model_dump(),
        }
    )


def _mechanism(derived: Derived) -> dict[str, object]:
    terms, settings = derived.terms, derived.settings
    mechanism = Mechanism(
        epsilon=terms.epsilon,
        delta=terms.delta,
        rho=str(settings.rho),
        alpha=str(settings.alpha),
        rounds=settings.rounds,
        max_model_mb=str(Fraction(settings.max_model_mb)),
        participation=str(parse_rational(terms.participation, "participation")),
        seed=settings.seed,
    )
    return mechanism.model_dump()
