"""The terms of a job as exact numbers: read once, and carried to whatever follows from them."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from aim_core.mechanisms.aim_terms import AimSettings
from aim_core.models.junction_tree import check_model_mb
from aim_core.privacy.participation import Participation, check_rate
from aim_core.privacy.zcdp import check_alpha, check_budget, parse_rational
from mpc.noise.kinds import NoiseKind
from mpc.noise.sources import NoiseCosts
from mpc.session.access import AccessStructure
from mpc.steps.job import noise_costs
from parties.agreement.choices import Choices
from parties.agreement.manifest import Manifest
from parties.agreement.values import EngineKind, parse_fraction, refused_as_config_error

ALPHA = Fraction(9, 10)
"""Part of a round's budget that measures; the rest selects."""


@dataclass(frozen=True)
class Exact:
    """A number exactly, and the text that it was written as, which a manifest repeats."""

    value: Fraction
    text: str

    @classmethod
    def read(cls, text: str, name: str) -> Self:
        """Read a number such as 1, 0.1, 1e-9 or 1/3; MechanismError if it is none."""
        return cls(parse_rational(text, name), text)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a consortium chooses, exactly; `rounds` None is adaptive.

    `max_cells` bounds the cells of a marginal in the workload, `max_model_mb` the model.
    `participation` is the rate at which holders join in a round. `seed` is public.

    Raises MechanismError for a budget, a rate or a size that is none.
    """

    workload: str
    epsilon: Exact
    delta: Exact
    max_cells: int | None
    max_model_mb: Fraction
    rounds: int | None
    noise: NoiseKind
    engine: EngineKind
    access: AccessStructure
    seed: int
    participation: Fraction = Fraction(1)
    alpha: Fraction = ALPHA

    def __post_init__(self) -> None:
        check_budget(self.epsilon.value, self.delta.value)
        check_rate(self.participation)
        check_alpha(self.alpha)
        check_model_mb(self.max_model_mb)

    @property
    def costs(self) -> NoiseCosts:
        """Return what the chosen kind of noise costs."""
        return noise_costs(self.noise, self.access)

    def settings(self, rho: Fraction, n_max: int, y_max: int, n_holders: int) -> AimSettings:
        """Return AIM's settings for a budget and bounds, with those who join in each round."""
        return AimSettings(
            rho=rho,
            n_max=n_max,
            y_max=y_max,
            rounds=self.rounds,
            max_model_mb=float(self.max_model_mb),
            seed=self.seed,
            alpha=self.alpha,
            participation=self.joining(n_holders),
        )

    def joining(self, n_holders: int) -> Participation:
        """Return who joins in which round, of `n_holders`."""
        return Participation(n_holders, self.participation, self.seed)


def read_terms(choices: Choices, n_parties: int, seed: int, participation: str = "1") -> Terms:
    """Read what a user has chosen; ConfigError for a number or a structure that cannot be."""
    with refused_as_config_error():
        return Terms(
            workload=choices.workload,
            epsilon=Exact.read(choices.epsilon, "epsilon"),
            delta=Exact.read(choices.delta, "delta"),
            max_cells=choices.max_cells,
            max_model_mb=parse_rational(choices.max_model_mb, "max_model_mb"),
            rounds=choices.rounds,
            noise=choices.noise,
            engine=choices.engine,
            access=AccessStructure(n_parties, choices.threshold),
            seed=seed,
            participation=parse_rational(participation, "participation"),
        )


def manifest_terms(manifest: Manifest) -> Terms:
    """Return the terms that stand in a manifest."""
    mechanism = manifest.mechanism
    return Terms(
        workload=manifest.workload,
        epsilon=Exact.read(mechanism.epsilon, "epsilon"),
        delta=Exact.read(mechanism.delta, "delta"),
        max_cells=manifest.max_cells,
        max_model_mb=parse_fraction(mechanism.max_model_mb),
        rounds=mechanism.rounds,
        noise=manifest.noise,
        engine=manifest.engine,
        access=AccessStructure(manifest.n_parties, manifest.threshold),
        seed=mechanism.seed,
        participation=parse_fraction(mechanism.participation),
        alpha=parse_fraction(mechanism.alpha),
    )
