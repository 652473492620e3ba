"""A compute party's privacy ledger: on disk before anything noisy leaves, never overspent."""

from fractions import Fraction
from pathlib import Path

from aim_core.accounting import PrivacyFilter
from parties.chain import HashChain
from parties.manifest import parse_fraction


class Ledger:
    """Charges of one job, replayed at the start, so that a restart cannot spend twice.

    The entries hold public facts only and no clock, so that all parties' heads are equal.
    ConfigError if the file was changed; BudgetExceeded if it holds more than the budget.
    """

    def __init__(self, path: Path, manifest_digest: str, budget: Fraction) -> None:
        self._chain = HashChain(path, f"ledger {manifest_digest}")
        self._filter = PrivacyFilter(budget)
        for entry in self._chain.entries:
            self._filter.charge(parse_fraction(entry["rho"]))

    @property
    def head(self) -> str:
        """Return the hash over the last entry (hex)."""
        return self._chain.head

    @property
    def spent(self) -> Fraction:
        """Return the rho charged so far."""
        return self._filter.spent

    def charge(self, request: str, request_sha256: str, cost: Fraction) -> None:
        """Book `cost` for a request and wait until it is on disk.

        Raises BudgetExceeded, and books nothing, if the budget does not pay for it.
        """
        self._filter.charge(cost)
        self._chain.append({"request": request, "sha256": request_sha256, "rho": str(cost)})

    def close(self) -> None:
        """Close the file."""
        self._chain.close()
