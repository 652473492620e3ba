"""Settings, rows and facts of comparisons, for tests of what is made of them."""

import random
from collections.abc import Sequence
from pathlib import Path

from parties.compare.rows import METHODS, Facts, Row
from parties.compare.settings import CompareSettings
from parties.compare.sweep import file_sha256

Clinic = tuple[Path, Path]
"""A table and its schema, as `write_clinic` returns them."""

ORACLE = "augflaim-oracle"
FACTS = Facts(
    settings={"methods": list(METHODS), "holders": 100, "target": None, "plaintext_utility": True},
    n_rows=900,
    n_held_out=100,
    n_attributes=4,
    n_cliques=3,
    n_candidates=7,
    n_cells=120,
    target="income",
    reference_auc=0.9212,
    records_per_holder={"min": 2, "max": 20},
    heterogeneity_tv={"workload": 0.31},
    versions={"distaim": "0.1.0"},
    remarks=["augflaim-oracle reads <exact> marginals."],
)


def settings_of(clinic: Clinic, /, **changes: object) -> CompareSettings:
    """Return a small comparison of three methods on a table, but for the changes."""
    table, schema = clinic
    content: dict[str, object] = {
        "table": str(table),
        "table_sha256": file_sha256(table),
        "schema_file": str(schema),
        "methods": ["central", "flaim", "oneway"],
        "holders": 6,
        "participation": "1/2",
        "rounds": 2,
        "local_steps": 1,
        "split": "iid",
        "target": "smoker",
        "epsilons": ["1"],
        "delta": "1e-5",
        "seeds": 1,
        "workload": "random:4:1",
        "max_cells": None,
        "max_model_mb": "2",
        "plaintext_utility": True,
    }
    return CompareSettings.model_validate(content | changes)


def make_row(method: str, epsilon: str = "1", seed: int = 0, **changes: object) -> Row:
    """Return a row of one method, but for the changes."""
    content: dict[str, object] = {
        "method": method,
        "epsilon": epsilon,
        "seed": seed,
        "is_private": method != ORACLE,
        "error_l1": 0.25,
        "error_other_l1": 0.5,
        "nll": 11.0,
        "auc": 0.8,
        "bytes_up": 0.0 if method == "central" else 5e5,
        "max_bytes_up": 0 if method == "central" else 600_000,
        "bytes_down": 0.0 if method == "central" else 1e6,
        "bytes_servers": 7_300_000_000 if method == "distaim" else 0,
        "communication": {"central": "none", "distaim": "one real run"}.get(method, "measured"),
        "is_real_mpc": False,
        "rounds": 10,
        "sigma": 20.9,
        "rho": 0.03056,
        "rho_spent": 0.03,
        "model_total": 901.5,
        "heterogeneity_tv": 0.31,
        "seconds": 12.0,
    }
    return Row.model_validate(content | changes)


def make_rows(
    methods: Sequence[str] = METHODS,
    epsilons: Sequence[str] = ("1", "3", "10"),
    n_seeds: int = 3,
) -> list[Row]:
    """Return a row per method, epsilon and seed, the same ones every time."""
    rng = random.Random(5)
    return [
        make_row(
            m, e, s, error_l1=rng.uniform(0.1, 0.9), nll=rng.uniform(9, 12), auc=rng.uniform(0.7, 1)
        )
        for m in methods
        for e in epsilons
        for s in range(n_seeds)
    ]
