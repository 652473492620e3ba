"""A compute party's uploads: one body per holder, on disk, taken once."""

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from parties.errors import RequestRefused, UploadRefused
from parties.messages import RECEIPT_PURPOSE, UploadReceipt
from parties.signatures import Signer
from parties.store import Store, disk_error, sync_folder


class UploadStore:
    """Uploads in a folder: NAME.share is the body; the receipts are in the party's store.

    All parties' bodies of one sharing carry one upload id, so that shares of two different
    sharings never mix.
    """

    def __init__(
        self, folder: Path, store: Store, signer: Signer, manifest: str, party: int, body_size: int
    ) -> None:
        self._folder, self._store, self._signer = folder, store, signer
        self._manifest, self._party = manifest, party
        self.body_size = body_size
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.glob("*.part"):
            left.unlink()  # of a process that was killed while it received
        self.receipts = store.receipts()

    def path(self, holder: str) -> Path:
        """Return where a holder's body stands."""
        return self._folder / f"{holder}.share"

    async def take(self, holder: str, upload: str, chunks: AsyncIterator[bytes]) -> UploadReceipt:
        """Store one body of exactly `body_size` bytes and return its signed receipt.

        The same body again gets the same receipt. Raises UploadRefused for a body of another
        size, or a different one after the first, and StateError if the disk is full.
        """
        part = self._folder / f"{holder}.{secrets.token_hex(8)}.part"
        try:
            digest, n_bytes = await _write(part, chunks, self.body_size)
            if n_bytes != self.body_size:
                raise UploadRefused(
                    f"the upload of {holder} has {n_bytes} bytes, {self.body_size} are due; "
                    "submit again with the manifest of this job",
                    party=self._party,
                )
            return self._keep(holder, upload, digest, part)
        except OSError as error:
            raise disk_error(error, self._party) from error
        finally:
            part.unlink(missing_ok=True)

    def _keep(self, holder: str, upload: str, digest: str, part: Path) -> UploadReceipt:
        known = self.receipts.get(holder)
        if known is not None:
            if (known.upload, known.sha256) == (upload, digest):
                return known
            raise UploadRefused(
                f"{holder} has uploaded something else before; one upload per holder counts, "
                "send the first one again or ask for a new job",
                party=self._party,
            )
        part.replace(self.path(holder))
        sync_folder(self._folder)
        unsigned = UploadReceipt(
            manifest=self._manifest,
            party=self._party,
            holder=holder,
            upload=upload,
            sha256=digest,
            n_bytes=self.body_size,
            signature="",
        )
        signature = self._signer.sign(RECEIPT_PURPOSE, unsigned.signed_bytes())
        receipt = unsigned.model_copy(update={"signature": signature})
        self._store.add_receipt(receipt)
        self.receipts[holder] = receipt
        return receipt


async def _write(path: Path, chunks: AsyncIterator[bytes], cap: int) -> tuple[str, int]:
    digest, n_bytes = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        try:
            async for chunk in chunks:
                digest.update(chunk)
                n_bytes += len(chunk)
                file.write(chunk)
        except RequestRefused as error:
            raise UploadRefused(f"an upload is longer than the {cap} bytes due") from error
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())
    return digest.hexdigest(), n_bytes
