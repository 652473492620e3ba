"""A compute party's privacy ledger: on disk before anything noisy leaves, never overspent."""

from fractions import Fraction
from pathlib import Path

from aim_core.accounting import PrivacyFilter
from aim_core.errors import BudgetExceeded
from parties.chain import HashChain
from parties.manifest import parse_fraction


class Ledger:
    """Charges of one job, replayed at the start, so that a restart cannot spend twice.

    A charge has two parts: rho, and delta, the statistical distance of its noise from the ideal.
    The entries hold public facts only and no clock, so that all parties' heads are equal.
    ConfigError if the file was changed; BudgetExceeded if it holds more than `rho` or `delta`.
    """

    def __init__(self, path: Path, manifest_digest: str, rho: Fraction, delta: Fraction) -> None:
        self._chain = HashChain(path, f"ledger {manifest_digest}")
        self._filter = PrivacyFilter(rho)
        self._delta = delta
        self._delta_spent = Fraction(0)
        for entry in self._chain.entries:
            self._book(parse_fraction(entry["rho"]), parse_fraction(entry["delta"]))

    @property
    def head(self) -> str:
        """Return the hash over the last entry (hex)."""
        return self._chain.head

    @property
    def spent(self) -> Fraction:
        """Return the rho charged so far."""
        return self._filter.spent

    def charge(self, request: str, request_sha256: str, rho: Fraction, delta: Fraction) -> None:
        """Book the cost of a request and wait until it is on disk.

        Raises BudgetExceeded, and books nothing, if the budget does not pay for it.
        """
        self._book(rho, delta)
        self._chain.append(
            {"request": request, "sha256": request_sha256, "rho": str(rho), "delta": str(delta)}
        )

    def close(self) -> None:
        """Close the file."""
        self._chain.close()

    def _book(self, rho: Fraction, delta: Fraction) -> None:
        if self._delta_spent + delta > self._delta:
            raise BudgetExceeded(
                "a release was refused: it draws more noise than the part of delta that is set "
                "aside for the samplers pays for; nothing was released for it"
            )
        self._filter.charge(rho)
        self._delta_spent += delta
