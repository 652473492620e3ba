"""Drafting a column of numbers from how often each number occurs."""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from aim_core.tables.columns.base import Column
from aim_core.tables.columns.numbers import ContinuousColumn, IntegerColumn

MAX_LISTED = 100
"""Most numbers that a draft lists one by one."""

MAX_DECIMALS = 6
"""Most decimals for which a draft says a step."""

_SPIKE_PART = 20
_MIN_SPIKE = 4
_SENTINELS = frozenset(Decimal(sign * (10**n - 1)) for sign in (1, -1) for n in range(1, 8))
_NICE = tuple(Decimal(n).scaleb(e) for e in range(-18, 19) for n in (1, 2, 5))

Counts = Mapping[Decimal, int]


@dataclass(frozen=True)
class NumberDraft:
    """A drafted column, its note, and numbers that stand for something else, such as 999."""

    column: Column
    note: str


def draft_numbers(
    name: str, missing: bool, counts: Counts, bins: int, *, n_rows: int, is_complete: bool
) -> NumberDraft:
    """Draft a column of numbers, `counts` saying in how many rows each occurs.

    Few numbers that recur are listed. Else what more than a twentieth of the rows have is listed,
    and the rest lies in round bins: of equal width, or by quantiles for a long tail. Numbers drawn
    later are multiples of the greatest step that all are multiples of. Codes such as 999 far from
    all other numbers get codes of their own. `n_rows` have a number;
    `is_complete` says that none of those is left out.
    """
    apart = _sentinels(counts)
    usual = {number: n for number, n in counts.items() if number not in apart}
    special = tuple(f"{number:f}" for number in sorted(apart))
    n_recurring = sum(n > 1 for n in usual.values())
    few = is_complete and len(usual) <= MAX_LISTED and 2 * n_recurring >= len(usual)
    least = max(n_rows // _SPIKE_PART, _MIN_SPIKE)
    spikes = sorted(x for x, n in usual.items() if n > least)
    listed = sorted(usual) if few or len(spikes) == len(usual) else spikes
    rest = {number: n for number, n in usual.items() if number not in set(listed)}
    notes = [f"{len(listed)} listed numbers"] if listed else []
    notes += [f"special {text}: {counts[Decimal(text)]} rows" for text in special]
    if not rest and _is_gapless(listed):
        column: Column = IntegerColumn(
            name, missing, int(listed[0]), int(listed[-1]), special=special
        )
        notes = ["min and max", *notes[1:]]
    else:
        edges = _edges(rest, bins, _step(usual)) if rest else None
        column = _column(name, missing, usual, listed, edges, special)
        notes += ["bins"] if edges else []
    return NumberDraft(column, f"{'; '.join(notes)} are taken from the data")


def _column(
    name: str,
    missing: bool,
    usual: Counts,
    listed: Sequence[Decimal],
    edges: Sequence[Decimal] | None,
    special: tuple[str, ...],
) -> Column:
    step = _step(usual)
    if all(number == number.to_integral_value() for number in usual):
        whole = None if edges is None else tuple(int(edge) for edge in edges)
        return IntegerColumn(
            name,
            missing,
            edges=whole,
            values=tuple(int(number) for number in listed),
            step=None if step is None or step <= 1 or whole is None else int(step),
            special=special,
        )
    return ContinuousColumn(
        name,
        missing,
        edges=None if edges is None else tuple(float(edge) for edge in edges),
        values=tuple(float(number) for number in listed),
        step=None if step is None or edges is None else float(step),
        special=special,
    )


def _sentinels(counts: Counts) -> set[Decimal]:
    """Return recurring codes such as -9 or 999 that lie further out than all others are wide."""
    found: set[Decimal] = set()
    rest = sorted(counts)
    while len(rest) > 2:
        for end, inner in ((rest[-1], rest[:-1]), (rest[0], rest[1:])):
            gap = min(abs(end - inner[0]), abs(end - inner[-1]))
            width = inner[-1] - inner[0]
            if end in _SENTINELS and counts[end] > 1 and gap > max(width, Decimal(1)):
                found.add(end)
                rest = inner
                break
        else:
            break
    return found


def _is_gapless(listed: Sequence[Decimal]) -> bool:
    return all(x == x.to_integral_value() for x in listed) and all(
        b - a == 1 for a, b in itertools.pairwise(listed)
    )


def _step(numbers: Counts) -> Decimal | None:
    """Return the greatest number that all are multiples of; None where digits are too many."""
    finest = max(-int(x.as_tuple().exponent) for x in numbers)
    if finest > MAX_DECIMALS:
        return None
    places = max(finest, 0)
    common = math.gcd(*(int(number.scaleb(places)) for number in numbers))
    step = Decimal(common or 1).scaleb(-places)
    # no finer than doubles tell multiples of it apart, with room for rounded edges
    return step if max(map(abs, numbers)) < step * 2**51 else None


def _edges(counts: Counts, bins: int, step: Decimal | None) -> list[Decimal]:
    """Return round edges for at most about `bins` bins, the outer ones at or beyond all numbers."""
    low, high = min(counts), max(counts)
    span = (high - low) or abs(high) or Decimal(1)
    unit = step or Decimal(0)
    width = next(nice for nice in _NICE if nice * bins >= span)
    width = _multiple(max(width, unit), unit)
    start = (low / width).to_integral_value(ROUND_FLOOR) * width
    n_bins = max(1, int(((high - start) / width).to_integral_value(ROUND_CEILING)))
    # Decimal's quotients are rounded: a number hardly beyond an edge needs one bin more
    start -= width if start > low else 0
    equal = [start + width * number for number in range(n_bins + 2)]
    equal = equal if equal[-2] < high else equal[:-1]
    if not _has_long_tail(counts, equal):
        return equal
    inner = [_multiple(_rounded(x), unit) for x in _quantiles(counts, bins)]
    return sorted({equal[0], *(x for x in inner if equal[0] < x < equal[-1]), equal[-1]})


def _has_long_tail(counts: Counts, edges: Sequence[Decimal]) -> bool:
    """Tell whether most rows lie in an eighth of the bins of equal width."""
    width = edges[1] - edges[0]
    per_bin: Counter[int] = Counter()
    for number, n in counts.items():
        per_bin[int((number - edges[0]) // width)] += n
    n_top = max(1, (len(edges) - 1) // 8)
    return len(edges) > 8 and 2 * sum(n for _, n in per_bin.most_common(n_top)) > sum(
        counts.values()
    )


def _quantiles(counts: Counts, bins: int) -> list[Decimal]:
    """Return the numbers below which each further 1 / `bins` of the rows lies."""
    total, passed = sum(counts.values()), 0
    found: list[Decimal] = []
    for number in sorted(counts):
        if passed * bins >= total * (len(found) + 1):
            found.append(number)
        passed += counts[number]
    return found


def _rounded(number: Decimal) -> Decimal:
    """Round to two digits, the second one even or a five."""
    if not number:
        return number
    unit = Decimal(5).scaleb(number.adjusted() - 1)
    return (number / unit).to_integral_value() * unit


def _multiple(number: Decimal, step: Decimal) -> Decimal:
    """Return the next multiple of a step, upwards."""
    return (number / step).to_integral_value(ROUND_CEILING) * step if step else number
