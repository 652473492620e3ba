"""What public facts tell of a run that will be, or was, of little use."""

import math

from aim_core.domain import Domain
from aim_core.mechanisms.aim_schedule import first_sigma2
from aim_core.mechanisms.aim_terms import AimResult, AimSettings
from aim_core.privacy.noise_facts import Noise
from aim_core.privacy.noise_warning import noise_warning


def foreseen_warnings(settings: AimSettings, domain: Domain, noise: Noise) -> list[str]:
    """Return what is certain before anything is measured: nobody has more than n_max records.

    MechanismError for a budget too small for the noise.
    """
    sigma = noise.true_sigma(first_sigma2(settings, len(domain), noise))
    text = noise_warning(domain, sigma, settings.n_max, "at most")
    return [] if text is None else [text]


def final_warnings(result: AimResult, settings: AimSettings, domain: Domain) -> list[str]:
    """Return what the noisy number of records tells, in place of its bound."""
    sigma = math.sqrt(result.measurements[0].variance)
    records = min(result.model.total, settings.n_max)
    text = noise_warning(domain, sigma, records, "an estimated")
    return [] if text is None else [text]
