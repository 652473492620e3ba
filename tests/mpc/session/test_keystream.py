"""Key derivation against RFC 5869 and streams against plain AES-CTR."""

import pickle

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpc.session.keystream import Keystream, digest, expand_key, extract_key


def test_rfc_5869_test_case_1() -> None:
    key = extract_key(b"\x0b" * 22, bytes(range(13)))
    assert key.hex() == "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
    label = bytes(range(0xF0, 0xFA))
    first_block = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
    assert expand_key(key, label).hex() == first_block


@pytest.mark.parametrize("sizes", [[7, 9, 100], [1 << 16, 5], [(1 << 16) + 3, 16], [0, 40]])
def test_reads_continue_one_aes_ctr_stream(sizes: list[int]) -> None:
    stream = Keystream(b"k" * 32, b"label")
    key = expand_key(b"k" * 32, b"label")[:16]
    plain = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    assert b"".join(stream.read(n) for n in sizes) == plain.update(bytes(sum(sizes)))


def test_words_are_the_bytes_in_order() -> None:
    words = Keystream(b"k" * 32, b"a").words((3, 4), np.uint32)
    assert words.tobytes() == Keystream(b"k" * 32, b"a").read(48)
    assert words.shape == (3, 4)


def test_keys_and_labels_separate_streams() -> None:
    outputs = {
        Keystream(key, label).read(16)
        for key in (b"k" * 32, b"K" * 32)
        for label in (b"", b"a", b"b", b"ab")
    }
    assert len(outputs) == 8


def test_a_stream_is_neither_shown_nor_serialised() -> None:
    stream = Keystream(b"k" * 32, b"a")
    assert "redacted" in repr(stream)
    with pytest.raises(TypeError, match="never serialised"):
        pickle.dumps(stream)


def test_digest_separates_its_parts() -> None:
    assert digest(b"a", b"bc") != digest(b"ab", b"c")
    assert digest(b"a") != digest(b"a", b"")
