"""What a classifier trained on synthetic rows is worth on real ones."""

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from aim_core.arrays import CodeTable, FloatArray
from aim_core.counts.marginals import checked_columns
from aim_core.domain import Domain
from aim_core.errors import TableError
from aim_core.extras import import_optional

MAX_CATEGORIES = 255
"""Most codes of a feature that is taken as categorical; above it, codes are taken as ordered."""

_SEED = 0


@dataclass(frozen=True)
class Auc:
    """Area under the ROC curve, 0.5 for guessing and 1 at best; None where `reason` says why."""

    value: float | None
    reason: str = ""


def default_target(domain: Domain) -> str | None:
    """Return the last two-valued attribute in column order, None if there is none."""
    return next((name for name in reversed(domain.attributes) if domain.size_of(name) == 2), None)


def auc(synthetic_codes: CodeTable, real_codes: CodeTable, domain: Domain, target: str) -> Auc:
    """Train gradient boosting on synthetic rows and score it on held-out real rows.

    All attributes but the target are features, the tables are (n_rows, len(domain)) codes. With
    two classes it is the usual area, with more the mean over the real rows' classes, each against
    the rest. A class that the synthetic table lacks counts 0.5. There is no value where one of the
    tables has one class only. The result is the same for the same tables; it runs on one thread.

    Raises TableError for empty tables, codes outside the domain, and a target that is unknown or
    the only attribute; MissingExtra without scikit-learn.
    """
    if target not in domain.attributes or len(domain) < 2:
        raise TableError(
            f"{target!r} cannot be predicted: the target has to be one of at least two attributes "
            f"of the table ({', '.join(domain.attributes[:20])})"
        )
    position = domain.position(target)
    tables = {"synthetic": synthetic_codes, "real": real_codes}
    for name, codes in tables.items():
        labels = checked_columns(codes, domain)[position]
        if not len(labels):
            raise TableError(f"the {name} table has no rows; a classifier needs some in both")
        if np.all(labels == labels[0]):
            return Auc(None, f"all rows of the {name} table have the same {target!r}")
    classes, probabilities = _predict(synthetic_codes, real_codes, domain, position)
    return Auc(_one_against_rest(real_codes[:, position], classes, probabilities))


def _predict(
    synthetic_codes: CodeTable, real_codes: CodeTable, domain: Domain, position: int
) -> tuple[CodeTable, FloatArray]:
    """Return the synthetic table's classes and the real rows' probabilities, a column each."""
    ensemble = import_optional("sklearn.ensemble", "compare")

    features = [axis for axis in range(len(domain)) if axis != position]
    # With one thread sums are always rounded alike, and runs side by side do not slow each other.
    with threadpool_limits(limits=1):
        model = ensemble.HistGradientBoostingClassifier(
            categorical_features=[domain.sizes[axis] <= MAX_CATEGORIES for axis in features],
            random_state=_SEED,
        )
        model.fit(synthetic_codes[:, features], synthetic_codes[:, position])
        classes: CodeTable = model.classes_
        probabilities: FloatArray = model.predict_proba(real_codes[:, features])
    return classes, probabilities


def _one_against_rest(labels: CodeTable, classes: CodeTable, probabilities: FloatArray) -> float:
    metrics = import_optional("sklearn.metrics", "compare")

    areas = []
    for label in np.unique(labels):
        column = np.flatnonzero(classes == label)
        known = probabilities[:, column[0]] if len(column) else np.zeros(len(labels))
        areas.append(float(metrics.roc_auc_score(labels == label, known)))
    return sum(areas) / len(areas)
