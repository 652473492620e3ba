"""Where noise drowns the counts: a warning from public facts alone."""

import math

from aim_core.domain import Domain

_N_NAMED = 5


def noise_warning(domain: Domain, sigma: float, records: float, basis: str) -> str | None:
    """Say in which columns noise exceeds the average cell of the one-way marginal; None if in none.

    `sigma` is the true standard deviation of the noise of a cell, in counts. `records` are the
    records at hand, a public number: a bound, or an estimate from noisy counts; `basis` says which,
    such as "at most" or "an estimated". Where `records` is a bound the warning is certain.

    It says besides if the noise of the total, taken from all one-way marginals together, exceeds
    `records`: then not even the number of rows means anything.
    """
    drowned = [
        name
        for name, size in zip(domain.attributes, domain.sizes, strict=True)
        if sigma * size > records
    ]
    if not drowned:
        return None
    largest = max(drowned, key=domain.size_of)
    size = domain.size_of(largest)
    named = ", ".join(drowned[:_N_NAMED]) + (", ..." if len(drowned) > _N_NAMED else "")
    # a marginal's sum has variance sigma^2 size; averaged by inverse variance
    of_total = sigma / math.sqrt(sum(1 / each for each in domain.sizes))
    rows = ""
    if of_total > records:
        rows = f" The number of rows is noise as well: it is off by {of_total:,.0f} or so."
    held = "1 record" if round(records) == 1 else f"{records:,.0f} records"
    return (
        f"noise exceeds the average cell in {len(drowned)} of {len(domain)} columns ({named}): "
        f"{basis} {held} over the {size:,} values of {largest} are "
        f"{records / size:,.3g} a cell, and the noise of a cell has a standard deviation of "
        f"{sigma:,.3g}. Values that fewer records have than that come out as noise.{rows} "
        "Raise epsilon, take fewer columns or coarser values, or more records."
    )
