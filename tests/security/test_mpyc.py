"""MPyC behind the shield: its zero test does not leak, nothing is unpickled, nothing is touched."""

import json
import pickle
import random
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpc.errors import MpcError, ProtocolViolation
from mpc.mpyc_engine.runtime import StrictCodec
from parties.errors import JobFailed
from parties.local.party_processes import run_local_parties
from tests.support.programs.mpyc_shield import (
    Observed,
    Payload,
    Rows,
    ZeroTests,
    malicious_program,
    no_pickle_program,
    zero_test_program,
)

N_SECRETS, N_SINGLE = 200, 20
BOUND = 2**60


def square_root(a: int, p: int) -> int | None:
    """Return a root of a modulo p, None for a non-residue; p = 3 mod 4."""
    root = pow(a, (p + 1) // 4, p)
    return root if root * root % p == a % p else None


def interpolate(values: Sequence[int], p: int) -> tuple[int, int, int]:
    """Return c0, c1, c2 of the polynomial of degree 2 through (1, v1), (2, v2), (3, v3)."""
    v1, v2, v3 = values
    half = pow(2, -1, p)
    c2 = (v1 - 2 * v2 + v3) * half % p
    c1 = (v2 - v1 - 3 * c2) % p
    return (v1 - c1 - c2) % p, c1, c2


def attack(opened: Sequence[int], own_share: int, p: int) -> int | None:
    """Guess a from the opened shares of f_a f_r and the share f_a(1) of party 0.

    A root x0 of the product that belongs to f_a gives f_a(0) = f_a(1) x0 / (x0 - 1); of the two
    guesses, the one in the range of the secrets is taken.
    """
    c0, c1, c2 = interpolate(opened, p)
    root = square_root((c1 * c1 - 4 * c0 * c2) % p, p)
    if root is None or c2 == 0:
        return None
    for sign in (1, -1):
        x0 = (-c1 + sign * root) * pow(2 * c2, -1, p) % p
        if x0 != 1:
            guess = own_share * x0 * pow(x0 - 1, -1, p) % p
            guess -= p if guess > p // 2 else 0
            if abs(guess) < BOUND:
                return guess
    return None


def n_recovered(observed: Observed, secrets: list[int]) -> dict[str, int]:
    """Return, per call, how many secrets the attack recovers."""
    p = observed.order
    assert p % 4 == 3

    def found(opened: Iterable[list[int]]) -> int:
        cases = zip(opened, observed.shares, secrets, strict=False)
        return sum(attack(values, share, p) == secret for values, share, secret in cases)

    def in_order(rows: Rows) -> Rows:
        """Return what was opened of every element, by party."""
        return [list(values) for values in zip(*(row[1:] for row in sorted(rows)), strict=True)]

    counts = {call: found(in_order(rows)) for call, rows in observed.of_arrays.items()}
    alone = (in_order(rows)[0] for rows in observed.of_elements)
    return counts | {"is_zero_public": found(alone)}


Recovered = tuple[bool, dict[str, int]]


@pytest.fixture(scope="module", params=[True, False], ids=["stock", "ours"])
def recovered(request: pytest.FixtureRequest) -> Recovered:
    generator = random.Random(7)
    secrets = [generator.randrange(1, 2**40) for _ in range(N_SECRETS)]
    zero_tests = ZeroTests(request.param, secrets, N_SINGLE)
    observed = run_local_parties(3, 1, zero_test_program, zero_tests, seconds=60)[0]
    return request.param, n_recovered(observed, secrets)


@pytest.mark.parametrize(
    ("call", "n"),
    [("np_is_zero_public", N_SECRETS), ("np_reciprocal", N_SECRETS), ("is_zero_public", N_SINGLE)],
)
def test_one_party_factors_stock_openings_but_not_ours(
    recovered: Recovered, call: str, n: int
) -> None:
    stock, counts = recovered
    if stock:
        assert counts[call] >= 0.95 * n, "the attack works on stock MPyC"
    else:
        assert counts[call] == 0


def test_a_shamir_job_calls_no_pickle() -> None:
    answers = run_local_parties(3, 1, no_pickle_program, "shamir", seconds=60)
    assert len(answers[0].chosen) == 3


def test_a_pickle_on_the_wire_is_not_executed(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    with pytest.raises(JobFailed, match="party 2"):
        run_local_parties(3, 1, malicious_program, marker, seconds=30)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists(), "unpickling it would have worked"


CODEC = StrictCodec(26)


@pytest.mark.parametrize("values", [[], [0], [1, 2**200, 0], [255, 256]])
def test_the_codec_returns_what_it_was_given(values: list[int]) -> None:
    decoded = CODEC.loads(CODEC.dumps(np.array(values, object)))
    assert decoded.tolist() == values


HEADER = (2).to_bytes(4, "little") + (26).to_bytes(2, "little")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x01" * 5,
        HEADER,
        HEADER + bytes(51),
        HEADER + bytes(53),
        (2).to_bytes(4, "little") + (3).to_bytes(2, "little") + bytes(6),
        b"\xff\xff\xff\xff\x00\x00",  # 2^32 elements of no bytes
        b"\xff\xff\xff\xff\xff\xff" + bytes(64),
        pickle.dumps([1, 2]),
    ],
)
def test_the_codec_refuses_other_bytes(payload: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        CODEC.loads(payload)


@pytest.mark.parametrize("values", [[1, 2], "text", np.zeros((2, 2), object), {"a": 1}])
def test_the_codec_sends_arrays_only(values: Any) -> None:
    with pytest.raises(MpcError, match="only one-dimensional arrays"):
        CODEC.dumps(values)


def test_the_codec_has_one_length_for_all_values() -> None:
    few, many = (CODEC.dumps(np.array([v, 1], object)) for v in (0, 2**200))
    assert len(few) == len(many)
    with pytest.raises(MpcError, match="another field"):
        CODEC.dumps(np.array([2**300], object))


IMPORT = """
import asyncio, json, logging, sys, warnings

async def main():
    warnings.simplefilter("error")
    loop = asyncio.get_running_loop()
    handler = lambda loop, context: None
    loop.set_exception_handler(handler)
    mine = logging.StreamHandler()
    if {own_handler}:
        logging.getLogger().addHandler(mine)

    def state():
        root = logging.getLogger()
        return [sys.argv, list(root.handlers), root.level, logging.root.manager.disable,
                asyncio.get_event_loop_policy(), asyncio.get_running_loop(),
                loop.get_exception_handler(), sys.stdout, sys.excepthook]
    import os
    environment = dict(os.environ)
    before = state()
    argv = list(sys.argv)
    import mpc.mpyc_engine.runtime
    assert os.environ == environment, "environment"
    return [a is b or a == b for a, b in zip(before, state())] + [argv == sys.argv]

print(json.dumps(asyncio.run(main())))
"""


@pytest.mark.parametrize("own_handler", [False, True])
def test_importing_mpyc_touches_nothing(own_handler: bool) -> None:
    command = [sys.executable, "-c", IMPORT.format(own_handler=own_handler)]
    done = subprocess.run(
        [*command, "-M5", "--help", "-I2"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True] * 10
    assert done.stderr == ""
