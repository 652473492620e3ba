"""A compute party's privacy ledger: on disk before anything noisy leaves, never overspent."""

from collections.abc import Mapping
from fractions import Fraction

from aim_core.errors import BudgetExceeded
from aim_core.privacy.zcdp import PrivacyFilter
from parties.agreement.values import parse_fraction
from parties.errors import ConfigError
from parties.party.state.store import Store
from parties.wire.ledger_chain import first_head, head_of
from parties.wire.messages import LedgerEntry


class Ledger:
    """Charges of one job, in the party's store, replayed at the start.

    A charge has two parts: rho, and delta, the statistical distance of its noise from the ideal.
    The entries hold public facts only and no clock, so that all parties' heads are equal.
    ConfigError if an entry was changed; BudgetExceeded if they come to more than `rho` or `delta`.
    """

    def __init__(self, store: Store, manifest_digest: str, rho: Fraction, delta: Fraction) -> None:
        self._store = store
        self._filter = PrivacyFilter(rho)
        self._delta = delta
        self._delta_spent = Fraction(0)
        self.head = first_head(manifest_digest)
        self.charges: list[LedgerEntry] = []
        for number, (charge, head) in enumerate(store.charges(), start=1):
            self._book(charge)
            self._follow(charge)
            if self.head != head:
                raise ConfigError(
                    f"entry {number} of the ledger does not follow from the one before: the state "
                    "was changed; restore it, or have the manifest replaced"
                )

    @property
    def spent(self) -> Fraction:
        """Return the rho charged so far."""
        return self._filter.spent

    @property
    def budget(self) -> Fraction:
        """Return the rho that may be charged."""
        return self._filter.budget

    def charge(self, charge: LedgerEntry, facts: Mapping[str, str]) -> None:
        """Book the cost of a request and wait until it is on disk, with some facts of the job.

        Raises BudgetExceeded, and books nothing, if the budget does not pay for it.
        """
        self._book(charge)
        self._store.book(len(self.charges) + 1, charge, head_of(self.head, charge), facts)
        self._follow(charge)

    def _follow(self, charge: LedgerEntry) -> None:
        self.head = head_of(self.head, charge)
        self.charges.append(charge)

    def check(self, charge: LedgerEntry) -> None:
        """Raise BudgetExceeded if the budget would not pay for a charge."""
        if self._delta_spent + parse_fraction(charge.delta) > self._delta:
            raise BudgetExceeded(
                "a release was refused: it draws more noise than the part of delta that is set "
                "aside for the samplers pays for; nothing was released for it"
            )
        self._filter.check(parse_fraction(charge.rho))

    def _book(self, charge: LedgerEntry) -> None:
        self.check(charge)
        self._filter.charge(parse_fraction(charge.rho))
        self._delta_spent += parse_fraction(charge.delta)
