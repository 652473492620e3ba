"""What a comparison says about itself: sizes, versions, and how its numbers are meant."""

import importlib.metadata
import platform

import numpy as np

from parties.compare.bench import Bench
from parties.compare.rows import DISTAIM, Facts
from parties.compare.settings import CompareSettings

_PACKAGES = ("distaim", "numpy", "scikit-learn", "cryptography")

_SCORES = (
    "A tenth of the rows is held out from every method and scored on (NLL, AUC); errors are "
    "against the other rows."
)
_NEIGHBOURS = (
    "Neighbouring tables differ by one record. FLAIM takes each holder's number of records as "
    "fixed, and its server learns which cliques a holder chose."
)
_BYTES = (
    "Bytes are those of serialised messages: model, choices and secure aggregation for FLAIM, "
    "uploaded shares for DistAIM. Holders who never join DistAIM are not counted, nor are "
    "receipts, and the framing of HTTP and TLS."
)
_NOISE = (
    "Noise comes from the operating system's random source: a repetition with the same seed has "
    "the same split, participants and held-out rows, and other noise."
)
_PLAINTEXT = (
    "DistAIM's utility is that of the plaintext oracle, which is asked what the compute parties "
    "would be asked; its bytes are those of one run over MPC."
)


def gather_facts(bench: Bench) -> Facts:
    """Return what all rows of a comparison share."""
    settings, inputs = bench.settings, bench.inputs
    heterogeneity = [bench.heterogeneity_tv(seed) for seed in range(settings.seeds)]
    n_rows = np.bincount(bench.owners(0), minlength=settings.holders)
    return Facts(
        settings=settings.model_dump(mode="json"),
        n_rows=len(bench.train),
        n_held_out=len(bench.held_out),
        n_attributes=len(inputs.domain),
        n_cliques=len(inputs.workload.cliques),
        n_candidates=len(inputs.candidates),
        n_cells=sum(inputs.sizes),
        target=bench.target,
        reference_auc=bench.reference_auc(),
        records_per_holder={
            "min": float(n_rows.min()),
            "median": float(np.median(n_rows)),
            "max": float(n_rows.max()),
        },
        heterogeneity_tv={
            "mean": float(np.mean(heterogeneity)),
            "min": min(heterogeneity),
            "max": max(heterogeneity),
        },
        versions={
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in _PACKAGES},
        },
        remarks=_remarks(settings),
    )


def _remarks(settings: CompareSettings) -> list[str]:
    remarks = [_SCORES, _NEIGHBOURS, _BYTES, _NOISE]
    if DISTAIM in settings.methods and settings.plaintext_utility:
        remarks.append(_PLAINTEXT)
    return remarks
