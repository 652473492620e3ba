"""The forecast of `distaim estimate`: what a job will take, before anything runs.

Every figure says what it is. "exact": follows from the manifest, as do uploads, the budget, and
what is done once on all cells, where they are few enough to be rehearsed as they are. "estimate":
rests on an assumption that is listed, or on a time measured on this machine: the secure steps are
rehearsed (`parties.forecast.secure_steps`), and so is the policy, on made-up data
(`parties.forecast.policy`). What lies outside the steps, and the engine on MPyC, are measured by a
small run of all processes (`parties.forecast.trial`). Bounds are named as such.
"""

import os
from dataclasses import asdict, dataclass
from typing import Any

from mpc.shares.replicated import ring
from parties.agreement.derived import (
    access_structure,
    manifest_budget,
    manifest_warnings,
    ring_parameters,
)
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs, public_inputs
from parties.agreement.values import EngineKind, parse_fraction
from parties.errors import ConfigError
from parties.forecast.policy import PolicyRehearsal, rehearse_policy
from parties.forecast.secure_steps import rehearse
from parties.forecast.steps import Clock, Link, StepFigure, StepFigures
from parties.forecast.trial import try_out
from parties.wire.peak_memory import peak_rss_mb

_BYTES_PER_CELL = 2
"""Copies of a party's components of all cells at the peak, while they are summed and prepared."""


@dataclass(frozen=True)
class Forecast:
    """All figures of a job; `assumptions` say what the estimates rest on.

    `warnings` say what makes its result of little use, and are certain.
    """

    manifest: str
    rounds: int
    rounds_most: int
    holders: int
    cells: int
    candidates: int
    sigma_first: float
    rho_budget: float
    delta_reserved: float
    upload_bytes_per_holder: int
    request_bytes: int
    memory_mb_per_party: int
    steps: tuple[StepFigure, ...]
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def bytes_sent_per_party(self) -> int:
        """The mean bytes that a compute party sends to its peers."""
        return sum(step.n_bytes for step in self.steps)

    @property
    def seconds(self) -> float:
        """The whole job's duration."""
        return sum(step.seconds for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Return the forecast as a JSON object, with its sums."""
        totals = {"bytes_sent_per_party": self.bytes_sent_per_party, "seconds": self.seconds}
        return {**asdict(self), **totals}


def forecast(manifest: Manifest, link: Link | None = None, holders: int | None = None) -> Forecast:
    """Forecast a job: on this machine alone, or with sites that are joined by a link.

    `holders` is how many upload; None: all that the manifest lists. ConfigError for more holders
    than listed, and for the shamir engine over a link. JobFailed if the trial run does not work.
    """
    n_holders = len(manifest.holders) if holders is None else holders
    _check_scope(manifest, link, n_holders)
    inputs = public_inputs(manifest)
    policy = rehearse_policy(manifest, inputs)
    # noise and input checks are the same in both engines
    rehearsed = manifest.model_copy(update={"engine": EngineKind.REPLICATED})
    variances = list({policy.sigma2, *policy.variances})
    secure = rehearse(rehearsed, inputs, policy.selection_epsilon, variances)
    trial = try_out(manifest, inputs, n_holders) if link is None else None
    clock = Clock(manifest, link, secure.agree.seconds)
    steps = StepFigures(manifest, inputs, policy, secure, trial, clock, n_holders)
    return Forecast(
        manifest=manifest.digest,
        rounds=policy.rounds,
        rounds_most=manifest.mechanism.rounds or 16 * len(inputs.domain),
        holders=n_holders,
        cells=sum(inputs.sizes),
        candidates=len(inputs.candidates),
        sigma_first=float(policy.sigma2) ** 0.5,
        rho_budget=float(parse_fraction(manifest.mechanism.rho)),
        delta_reserved=float(manifest_budget(manifest, inputs).delta_reserved),
        upload_bytes_per_holder=steps.upload_bytes,
        request_bytes=policy.request_bytes,
        memory_mb_per_party=_memory_mb(manifest, inputs),
        steps=tuple(steps.all()),
        assumptions=_assumptions(manifest, link, policy),
        warnings=tuple(manifest_warnings(manifest, inputs)),
    )


def _check_scope(manifest: Manifest, link: Link | None, n_holders: int) -> None:
    """Check that the manifest lists the holders, and that its engine can be forecast on a link."""
    if manifest.engine is EngineKind.SHAMIR and link is not None:
        raise ConfigError(
            "MPyC does not count rounds, so jobs of engine shamir are estimated for one machine "
            "only; leave out --bandwidth and --rtt, or use engine replicated"
        )
    if not 1 <= n_holders <= len(manifest.holders):
        raise ConfigError(
            f"{n_holders} holders; the manifest lists {len(manifest.holders)}, name 1 to that many"
        )


def _memory_mb(manifest: Manifest, inputs: PublicInputs) -> int:
    """Estimate a party's peak: its program, and its components of all cells and of their bits.

    This process has imported what a party's program imports, so its own memory stands for that.
    """
    parameters = ring_parameters(manifest)
    held = len(access_structure(manifest).held[0])
    word = ring(parameters.ring_bits).dtype.itemsize
    bits = 2 if parameters.count_bits <= 16 else 4
    cells = sum(inputs.sizes) * held * (word + bits) * _BYTES_PER_CELL
    return round(min(peak_rss_mb(), 150.0) + cells / 2**20)


def _assumptions(manifest: Manifest, link: Link | None, policy: PolicyRehearsal) -> tuple[str, ...]:
    counts = (
        f"{policy.nonzero_cells:,} of {policy.all_cells:,} cells have a model count above 0, as "
        f"with made-up data of {policy.n_rows:,} rows; at most {policy.nonzero_most:,} can have"
    )
    cells = (
        f"a measured marginal has {policy.mean_cells:,.0f} cells, the mean of those that the "
        "policy measures on made-up data"
    )
    fits = "a fit takes as long as one from scratch on made-up data in mid-run did here"
    texts = [counts, cells, fits, f"the machines are like this one with {os.cpu_count()} cores"]
    if manifest.mechanism.rounds is None:
        texts.append(
            f"the adaptive schedule takes {policy.rounds} rounds, as on made-up data; it ends "
            "earlier where measurements teach it little, later where there is much to learn"
        )
    if link is None:
        texts.append("all roles run on this machine, and it has nothing else to do")
    else:
        texts.append("every party has a machine and a line of its own; holders upload at once")
    return tuple(texts)
