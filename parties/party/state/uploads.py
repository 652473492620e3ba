"""A compute party's uploads: one body per holder, on disk, taken once, resumed when it breaks."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from parties.errors import UploadBroken, UploadRefused
from parties.files import sync_file, sync_folder
from parties.identity.signatures import Signer
from parties.party.state.store import Store, disk_error
from parties.wire.messages import RECEIPT_PURPOSE, UploadReceipt


@dataclass(frozen=True)
class UploadPart:
    """What a holder says of the bytes that it sends: they are a body's end, from an offset on.

    Attributes:
        upload: the sharing's id, equal at all parties.
        sha256: hash of the whole body for this party.
        offset: where the first byte stands in the body; 0 sends all of it.
    """

    upload: str
    sha256: str
    offset: int = 0


class UploadStore:
    """Uploads in a folder: NAME.share is the body; the receipts are in the party's store.

    NAME.ID.part is what has arrived so far of the upload with that id, at most one per holder. It
    outlives connections and the process. All parties' bodies of one sharing carry one upload id,
    so that shares of two different sharings never mix.
    """

    def __init__(
        self, folder: Path, store: Store, signer: Signer, manifest: str, party: int, body_size: int
    ) -> None:
        self._folder, self._store, self._signer = folder, store, signer
        self._manifest, self._party = manifest, party
        self._turns: dict[str, int] = {}
        self.body_size = body_size
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.receipts = store.receipts()

    def path(self, holder: str) -> Path:
        """Return where a holder's body stands."""
        return self._folder / f"{holder}.share"

    async def received(self, holder: str, upload: str) -> int:
        """Return how many bytes of an upload are here, synced; all of them after the receipt.

        Raises UploadRefused if the receipt is for another upload, StateError for a broken disk.
        """
        known = self.receipts.get(holder)
        if known is not None:
            if known.upload != upload:
                raise self._other(holder)
            return self.body_size
        try:
            return await asyncio.to_thread(_synced_size, self._part(holder, upload))
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise disk_error(error, self._party) from error

    async def take(
        self, holder: str, part: UploadPart, chunks: AsyncIterator[bytes]
    ) -> UploadReceipt:
        """Store the rest of a body of exactly `body_size` bytes and return its signed receipt.

        The same body again gets the same receipt. What has arrived when `chunks` fails is kept,
        until the holder goes on or begins another upload; a newer call for the holder ends an
        older one. Raises UploadRefused for a body of another size, or a different one after the
        first, UploadBroken if what is here does not fit, and StateError if the disk is full.
        """
        known = self.receipts.get(holder)
        if known is not None:
            if (known.upload, known.sha256) == (part.upload, part.sha256):
                return known
            raise self._other(holder)
        turn = self._turns[holder] = self._turns.get(holder, 0) + 1
        try:
            path = self._begin(holder, part)
            n_bytes = await self._write(holder, turn, path, part.offset, chunks)
            self._check_size(holder, n_bytes, path)
            digest = await asyncio.to_thread(_synced_digest, path)
            self._check_turn(holder, turn)
            if digest != part.sha256:
                path.unlink()
                raise UploadBroken(
                    f"what arrived of the upload of {holder} is not what was sent, and was "
                    "dropped; send it anew from its first byte",
                    party=self._party,
                )
            return self._keep(holder, part, path)
        except OSError as error:
            self._check_turn(holder, turn)  # the newer call may have removed the file
            raise disk_error(error, self._party) from error

    def _part(self, holder: str, upload: str) -> Path:
        return self._folder / f"{holder}.{upload}.part"

    def _begin(self, holder: str, part: UploadPart) -> Path:
        """Return the file to go on with, cut to the offset; other uploads' parts are dropped."""
        path = self._part(holder, part.upload)
        n_bytes = path.stat().st_size if path.exists() else 0
        if part.offset > n_bytes:
            raise UploadBroken(
                f"the upload of {holder} goes on at byte {part.offset}, but {n_bytes} bytes of it "
                "are here; ask how many there are, and go on from there",
                party=self._party,
            )
        for other in self._folder.glob("*.part"):
            if other != path and other.stem.rpartition(".")[0] == holder:
                other.unlink()
        path.touch(mode=0o600)
        os.truncate(path, part.offset)
        return path

    async def _write(
        self, holder: str, turn: int, path: Path, offset: int, chunks: AsyncIterator[bytes]
    ) -> int:
        """Add chunks to a file, no further than `body_size`; return the body's length so far."""
        n_bytes = offset
        with path.open("ab") as file:
            async for chunk in chunks:
                self._check_turn(holder, turn)
                n_bytes += len(chunk)
                if n_bytes > self.body_size:
                    break
                file.write(chunk)
                file.flush()  # nothing of this call may reach the file after a newer one began
        self._check_turn(holder, turn)
        return n_bytes

    def _check_turn(self, holder: str, turn: int) -> None:
        if self._turns[holder] != turn:
            raise UploadRefused(
                f"{holder} has begun to upload again, this attempt is over; upload from one "
                "program at a time",
                party=self._party,
            )

    def _check_size(self, holder: str, n_bytes: int, path: Path) -> None:
        """Refuse, and drop, a body that is whole and not of the due length."""
        if n_bytes != self.body_size:
            path.unlink()
            kind = "longer" if n_bytes > self.body_size else "shorter"
            raise UploadRefused(
                f"the upload of {holder} is {kind} than the {self.body_size} bytes due; "
                "submit again with the manifest of this job",
                party=self._party,
            )

    def _other(self, holder: str) -> UploadRefused:
        return UploadRefused(
            f"{holder} has uploaded something else before; one upload per holder counts, "
            "send the first one again or ask for a new job",
            party=self._party,
        )

    def _keep(self, holder: str, part: UploadPart, path: Path) -> UploadReceipt:
        path.replace(self.path(holder))
        sync_folder(self._folder)
        unsigned = UploadReceipt(
            manifest=self._manifest,
            party=self._party,
            holder=holder,
            upload=part.upload,
            sha256=part.sha256,
            n_bytes=self.body_size,
            signature="",
        )
        signature = self._signer.sign(RECEIPT_PURPOSE, unsigned.signed_bytes())
        receipt = unsigned.model_copy(update={"signature": signature})
        self._store.add_receipt(receipt)
        self.receipts[holder] = receipt
        return receipt


def _synced_size(path: Path) -> int:
    sync_file(path)
    return path.stat().st_size


def _synced_digest(path: Path) -> str:
    sync_file(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
