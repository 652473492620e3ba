"""A party that books charges until it is killed."""

from pathlib import Path

from parties.party.state.store import Store
from parties.wire.messages import LedgerEntry


def charge(number: int) -> LedgerEntry:
    return LedgerEntry(request=f"measure-{number}", sha256="ab" * 32, rho="1/3", delta="0")


def charge_until_killed(path: Path, done: Path) -> None:
    """Book one charge after the other; write down the number of each that is on disk."""
    store = Store(path, "m", 0)
    number = len(store.charges())
    with done.open("a") as report:
        while True:
            number += 1
            store.book(number, charge(number), f"head-{number}", {"round": str(number)})
            report.write(f"{number}\n")
            report.flush()
