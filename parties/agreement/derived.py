"""What follows from a manifest, and every role computes anew: sizes, noise, budget, settings."""

from aim_core.counts.workload import maximal_cliques, n_cells
from aim_core.mechanisms.aim_terms import AimSettings
from aim_core.mechanisms.aim_warnings import foreseen_warnings
from aim_core.privacy.noise_facts import Noise
from aim_core.privacy.participation import Participation
from mpc.session.access import AccessStructure
from mpc.steps.job import RingParameters, make_noise, noise_costs
from mpc.steps.upload import UploadFormat
from parties.agreement.budget import Budget, noise_terms, run_budget
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs
from parties.agreement.terms import manifest_terms
from parties.agreement.values import parse_fraction
from parties.errors import ConfigError


def access_structure(manifest: Manifest) -> AccessStructure:
    """Return who holds which component."""
    return AccessStructure(manifest.n_parties, manifest.threshold)


def manifest_noise(manifest: Manifest) -> Noise:
    """Return what the manifest's kind of noise costs."""
    return noise_terms(noise_costs(manifest.noise, access_structure(manifest)))


def manifest_budget(manifest: Manifest, inputs: PublicInputs) -> Budget:
    """Return what the manifest's epsilon and delta pay for, computed anew.

    ConfigError if the manifest's rho is larger: whoever wrote it promised too much.
    """
    mechanism = manifest.mechanism
    budget = run_budget(manifest_terms(manifest), inputs.workload)
    rho = parse_fraction(mechanism.rho)
    if rho > budget.rho:
        raise ConfigError(
            f"mechanism.rho in the manifest is {float(rho):.9g}, but epsilon {mechanism.epsilon} "
            f"and delta {mechanism.delta} pay for {float(budget.rho):.9g} with this noise; have "
            "the manifest corrected, and do not approve it as it is",
            run=manifest.run,
        )
    return budget


def ring_parameters(manifest: Manifest) -> RingParameters:
    """Return the sizes that rule out any wrap; EncodingOverflow if there are none."""
    source = make_noise(manifest.noise, access_structure(manifest))
    bound = source.gaussian_bound(parse_fraction(manifest.sigma2_max))
    return RingParameters.choose(manifest.n_max, manifest.y_max, bound)


def upload_format(manifest: Manifest, inputs: PublicInputs) -> UploadFormat:
    """Return the form of every holder's upload: the cells of the maximal marginals."""
    cells = n_cells(inputs.domain, maximal_cliques(inputs.workload))
    return UploadFormat(access_structure(manifest), ring_parameters(manifest).ring_bits, cells)


def manifest_warnings(manifest: Manifest, inputs: PublicInputs) -> list[str]:
    """Return what the manifest alone tells of a job that will be of little use.

    MechanismError for a budget too small for the noise.
    """
    settings = aim_settings(manifest, len(manifest.holders))
    return foreseen_warnings(settings, inputs.domain, manifest_noise(manifest))


def aim_settings(manifest: Manifest, n_holders: int) -> AimSettings:
    """Return the manifest's mechanism as AIM's settings; `n_holders` have uploaded."""
    rho = parse_fraction(manifest.mechanism.rho)
    return manifest_terms(manifest).settings(rho, manifest.n_max, manifest.y_max, n_holders)


def participation(manifest: Manifest, n_holders: int) -> Participation:
    """Return who joins in which round, of the `n_holders` that have uploaded.

    Its holders are numbered in the manifest's order, without those that did not upload.
    """
    return manifest_terms(manifest).joining(n_holders)
