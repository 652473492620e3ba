"""From what a consortium agrees on to its manifest; `distaim init` and `distaim run` begin here."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from aim_core.counts.workload import closure, parse_workload
from aim_core.counts.workload_text import label
from aim_core.mechanisms.aim_schedule import first_sigma2
from aim_core.mechanisms.aim_terms import AimSettings
from aim_core.privacy.noise_facts import Noise
from aim_core.tables.schema import Schema
from parties.agreement.budget import Budget, noise_terms, run_budget
from parties.agreement.manifest import PROTOCOL, Manifest, Mechanism, Member, PartyEntry, time_text
from parties.agreement.public_inputs import PublicInputs
from parties.agreement.terms import Terms


@dataclass(frozen=True)
class Derived:
    """What a job is before its members are known: terms, public inputs, bound, budget.

    `n_max` bounds the records of all holders together.
    """

    terms: Terms
    inputs: PublicInputs
    n_max: int
    budget: Budget

    @property
    def noise(self) -> Noise:
        """Return what the noise costs, in the mechanism's terms."""
        return noise_terms(self.terms.costs)

    def settings(self, n_holders: int) -> AimSettings:
        """Return AIM's settings for a job of `n_holders`."""
        return self.terms.settings(self.budget.rho, self.n_max, self.n_max, n_holders)


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


def derive(terms: Terms, inputs: PublicInputs, n_max: int) -> Derived:
    """Return what follows from the terms; MechanismError for a budget too small."""
    return Derived(terms, inputs, n_max, run_budget(terms, inputs.workload))


def build_manifest(derived: Derived, members: Members, expires: dt.datetime) -> Manifest:
    """Return the manifest of a job that nothing is started for from `expires` on."""
    terms, inputs = derived.terms, derived.inputs
    settings = derived.settings(max(1, len(members.holders)))  # of none the manifest says so
    largest = first_sigma2(settings, len(inputs.domain), derived.noise)
    return Manifest.parse(
        {
            "protocol": PROTOCOL,
            "expires": time_text(expires),
            "schema": inputs.schema.to_dict(),
            # for people; the cliques and weights below are what counts
            "workload": label(terms.workload),
            "cliques": [list(clique) for clique in inputs.workload.cliques],
            "weights": list(inputs.workload.clique_weights),
            "max_cells": terms.max_cells,
            "mechanism": _mechanism(terms, settings),
            "n_max": settings.n_max,
            "y_max": settings.y_max,
            # the last round spends what is left: never on less than the round before it
            "sigma2_max": str(Fraction(int(2 * largest) + 1)),
            "noise": terms.noise,
            "engine": terms.engine,
            "threshold": terms.access.threshold,
            "min_holders": members.min_holders,
            "parties": [party.model_dump() for party in members.parties],
            "holders": [holder.model_dump() for holder in members.holders],
            "estimator": members.estimator.model_dump(),
        }
    )


def _mechanism(terms: Terms, settings: AimSettings) -> dict[str, object]:
    mechanism = Mechanism(
        epsilon=terms.epsilon.text,
        delta=terms.delta.text,
        rho=str(settings.rho),
        alpha=str(settings.alpha),
        rounds=settings.rounds,
        max_model_mb=str(Fraction(settings.max_model_mb)),
        participation=str(settings.participation.rate),
        seed=settings.seed,
    )
    return mechanism.model_dump()
