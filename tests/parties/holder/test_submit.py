import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aim_core.arrays import CodeTable
from aim_core.counts.marginals import count_marginals
from aim_core.errors import TableError
from mpc.arrays import Array
from mpc.session.retrying import Backoff
from parties.agreement.derived import upload_format
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs, public_inputs
from parties.errors import IdentityError, PartyUnreachable, UploadBroken, UploadRefused
from parties.holder import submit as holder
from parties.holder.submit import check_receipt, count_vector, prepare
from parties.identity.signatures import Signer
from parties.party.engine import candidate_cells
from parties.setup.config import HolderMember, HoldersConfig
from parties.wire.client import BodyFile
from parties.wire.messages import RECEIPT_PURPOSE, UploadReceipt
from tests.support.party_world import World


@pytest.fixture(scope="module")
def manifest(world: World) -> Manifest:
    return world.manifest()


@pytest.fixture(scope="module")
def inputs(manifest: Manifest) -> PublicInputs:
    return public_inputs(manifest)


def table(n_rows: int, seed: int) -> CodeTable:
    generator = np.random.default_rng(seed)
    return np.stack([generator.integers(0, size, n_rows) for size in (2, 3, 2)], axis=1)


@given(n_rows=st.integers(0, 100), seed=st.integers(0, 99))
def test_candidates_of_shared_uploads_are_the_exact_marginals(
    manifest: Manifest,
    inputs: PublicInputs,
    tmp_path_factory: pytest.TempPathFactory,
    n_rows: int,
    seed: int,
) -> None:
    rows = table(n_rows, seed)
    form = upload_format(manifest, inputs)
    outbox = tmp_path_factory.mktemp("outbox")
    holders = [count_vector([rows[k::2]], inputs, manifest.n_max) for k in range(2)]
    for k, vector in enumerate(holders):
        prepare(vector, form, manifest, outbox / str(k))
    components: dict[int, Array] = {}
    for pid in range(3):
        total = form.zeros(pid)
        for k in range(2):
            body = outbox / str(k) / f"body-{pid}.share"
            assert body.stat().st_size == form.body_size(pid)
            form.accumulate(pid, body, total)
        for number, component in total.components.items():
            cells = candidate_cells(component, inputs)
            if number in components:
                assert np.array_equal(components[number], cells)
            components[number] = cells
    opened = sum(components.values(), start=np.zeros(sum(inputs.sizes), np.uint32))
    opened = opened % (1 << form.ring_bits)
    expected = count_marginals([rows], inputs.domain, inputs.candidates)
    assert np.array_equal(opened, np.concatenate([expected[c] for c in inputs.candidates]))


def test_the_outbox_keeps_the_first_shares(
    manifest: Manifest, inputs: PublicInputs, tmp_path: Path
) -> None:
    vector = count_vector([table(20, 0)], inputs, manifest.n_max)
    form = upload_format(manifest, inputs)
    prepare(vector, form, manifest, tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    prepare(vector, form, manifest, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    assert len(first) == 4


def test_more_rows_than_the_public_bound_are_refused(inputs: PublicInputs) -> None:
    with pytest.raises(TableError, match="n_max"):
        count_vector([table(128, 0)], inputs, 127)


def test_another_table_is_shared_anew_until_a_party_has_a_part_of_it(
    manifest: Manifest, inputs: PublicInputs, tmp_path: Path
) -> None:
    form = upload_format(manifest, inputs)
    one, other = (count_vector([table(20, seed)], inputs, manifest.n_max) for seed in (0, 1))
    prepare(one, form, manifest, tmp_path)
    first = (tmp_path / "upload.json").read_text()
    prepare(other, form, manifest, tmp_path)
    assert (tmp_path / "upload.json").read_text() != first
    (tmp_path / "receipt-1.json").write_text("{}")
    prepare(other, form, manifest, tmp_path)
    with pytest.raises(UploadRefused, match="table has changed"):
        prepare(one, form, manifest, tmp_path)


def test_receipts_are_the_partys_own_and_for_what_was_sent(
    world: World, manifest: Manifest, inputs: PublicInputs, tmp_path: Path
) -> None:
    vector = count_vector([table(20, 0)], inputs, manifest.n_max)
    prepare(vector, upload_format(manifest, inputs), manifest, tmp_path)
    body = (tmp_path / "body-1.share").read_bytes()
    due = UploadReceipt(
        manifest=manifest.digest,
        party=1,
        holder="ann",
        upload=json.loads((tmp_path / "upload.json").read_text())["upload"],
        sha256=hashlib.sha256(body).hexdigest(),
        n_bytes=len(body),
        signature="",
    )

    def signed(signer: str, purpose: str = RECEIPT_PURPOSE, **changes: object) -> UploadReceipt:
        changed = due.model_copy(update=changes)
        signature = Signer(world.identities[signer].key_path).sign(purpose, changed.signed_bytes())
        return changed.model_copy(update={"signature": signature})

    check_receipt(signed("party-1"), manifest, 1, "ann", tmp_path)
    for forged in (signed("party-0"), signed("party-1", "transcript"), due):
        with pytest.raises(IdentityError):
            check_receipt(forged, manifest, 1, "ann", tmp_path)
    altered = signed("party-1").model_copy(update={"n_bytes": 1})
    with pytest.raises(IdentityError):
        check_receipt(altered, manifest, 1, "ann", tmp_path)
    for wrong in ({"sha256": "a" * 64}, {"upload": "a" * 64}, {"holder": "bob"}, {"party": 0}):
        with pytest.raises(UploadRefused):
            check_receipt(signed("party-1", **wrong), manifest, 1, "ann", tmp_path)


class BreakingParty:
    """A party whose connection breaks after so many bytes of an attempt; notes the offsets."""

    def __init__(self, breaks: list[int | Exception]) -> None:
        self.breaks, self.body = breaks, b""
        self.offsets: list[int] = []

    def __call__(self, *_: object) -> "BreakingParty":
        return self

    def __enter__(self) -> "BreakingParty":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def received(self, holder: str, upload: str) -> int:
        return len(self.body)

    def put(self, holder: str, upload: str, body: BodyFile, offset: int) -> bytes:
        self.offsets.append(offset)
        sent = b"".join(body.chunks(offset))
        at = self.breaks.pop(0) if self.breaks else len(sent)
        if isinstance(at, Exception):
            self.body = b""
            raise at
        self.body = self.body[:offset] + sent[:at]
        if at < len(sent):
            raise PartyUnreachable("cut off")
        return hashlib.sha256(self.body).hexdigest().encode()


@pytest.mark.parametrize(
    ("breaks", "offsets"),
    [
        ([], [0]),
        ([0, 10, 7], [0, 0, 10, 17]),
        ([20, UploadBroken("dropped"), 5], [0, 20, 0, 5]),
    ],
)
def test_only_what_a_party_lacks_is_sent_again(
    world: World,
    manifest: Manifest,
    inputs: PublicInputs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    breaks: list[int | Exception],
    offsets: list[int],
) -> None:
    prepare(
        count_vector([table(20, 0)], inputs, manifest.n_max),
        upload_format(manifest, inputs),
        manifest,
        tmp_path,
    )
    party = BreakingParty(breaks)
    monkeypatch.setattr(holder, "PartyClient", party)
    monkeypatch.setattr(holder, "_PAUSES", Backoff(0, 0))
    body = (tmp_path / "body-1.share").read_bytes()
    answer = holder._send(manifest, 1, world.identities["ann"], tmp_path, settings(tmp_path))
    assert answer.decode() == hashlib.sha256(body).hexdigest()
    assert party.offsets == offsets


def settings(folder: Path, connect_timeout: float = 60.0) -> HoldersConfig:
    member = HolderMember(name="ann", certificate=folder / "c", key=folder / "k")
    return HoldersConfig(
        manifest=folder / "m",
        table=folder / "t",
        outbox=folder,
        members=[member],
        connect_timeout=connect_timeout,
    )


def test_a_party_that_takes_nothing_is_given_up(
    world: World,
    manifest: Manifest,
    inputs: PublicInputs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare(
        count_vector([table(20, 0)], inputs, manifest.n_max),
        upload_format(manifest, inputs),
        manifest,
        tmp_path,
    )
    monkeypatch.setattr(holder, "PartyClient", BreakingParty([UploadBroken("dropped")] * 99))
    monkeypatch.setattr(holder, "_PAUSES", Backoff(0.01, 0.01))
    with pytest.raises(UploadBroken):
        holder._send(manifest, 1, world.identities["ann"], tmp_path, settings(tmp_path, 0.1))
