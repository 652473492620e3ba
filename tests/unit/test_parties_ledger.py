import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from aim_core.errors import BudgetExceeded
from parties.chain import HashChain
from parties.errors import ConfigError
from parties.ledger import Ledger
from parties.transcript import Transcript


def test_ledger_survives_a_restart_and_never_overspends(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path, "m", Fraction(1))
    ledger.charge("select-1", "aa", Fraction(2, 3))
    head = ledger.head
    with pytest.raises(BudgetExceeded):
        ledger.charge("measure-1", "bb", Fraction(1, 2))
    assert ledger.head == head
    ledger.close()

    again = Ledger(path, "m", Fraction(1))
    assert (again.spent, again.head) == (Fraction(2, 3), head)
    again.charge("measure-1", "bb", Fraction(1, 3))
    with pytest.raises(BudgetExceeded):
        again.charge("select-2", "cc", Fraction(1, 10**9))
    again.close()


def test_ledgers_of_the_same_requests_have_the_same_head(tmp_path: Path) -> None:
    heads = set()
    for pid in range(2):
        ledger = Ledger(tmp_path / f"{pid}.jsonl", "m", Fraction(1))
        ledger.charge("select-1", "aa", Fraction(1, 3))
        heads.add(ledger.head)
        ledger.close()
    assert len(heads) == 1


@pytest.mark.parametrize("change", ["value", "drop", "order", "other job"])
def test_a_changed_ledger_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path, "m", Fraction(1))
    for number in range(3):
        ledger.charge(f"select-{number}", "aa", Fraction(1, 10))
    ledger.close()
    lines = path.read_bytes().splitlines(keepends=True)
    if change == "value":
        lines[1] = lines[1].replace(b"1/10", b"1/99")
    elif change == "drop":
        del lines[0]
    elif change == "order":
        lines[0], lines[1] = lines[1], lines[0]
    path.write_bytes(b"".join(lines))
    with pytest.raises(ConfigError, match=r"line [123]"):
        Ledger(path, "other" if change == "other job" else "m", Fraction(1))


def test_chain_refuses_lines_that_are_no_entries(tmp_path: Path) -> None:
    path = tmp_path / "chain.jsonl"
    for text in ("nonsense\n", "[]\n", '{"a":1}\n'):
        path.write_text(text)
        with pytest.raises(ConfigError, match="line 1"):
            HashChain(path, "start")


def test_transcript_keeps_large_marginals_beside(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "party-0.jsonl", "m", 0)
    small, large = np.arange(5), np.arange(5000)
    transcript.write("measure", marginals=transcript.marginals([small, large]))
    transcript.close()
    entry = json.loads((tmp_path / "party-0.jsonl").read_text())
    first, second = entry["marginals"]
    assert first["values"] == [0, 1, 2, 3, 4]
    assert np.array_equal(np.load(tmp_path / second["file"]), large)
