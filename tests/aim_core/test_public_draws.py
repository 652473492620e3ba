"""Numbers from a public seed: their preimages are those of docs/protocol.md, section 23."""

import hashlib
from fractions import Fraction

from aim_core.privacy.participation import Participation
from aim_core.public_draws import DrawFor, public_draw


def first_64_bits(preimage: bytes) -> int:
    return int.from_bytes(hashlib.sha256(preimage).digest()[:8], "big")


def test_a_draw_follows_from_the_documented_preimage() -> None:
    joining = public_draw(DrawFor.PARTICIPATION, 5, 3, 17)
    assert joining == first_64_bits(b'distaim/participation/v1\0["5",3,17]')
    offset = public_draw(DrawFor.MODEL_OFFSET, 2**60, 1, ("age", "größe"))
    preimage = 'distaim/model-offset/v1\0["1152921504606846976",1,["age","größe"]]'
    assert offset == first_64_bits(preimage.encode())


def test_a_holder_joins_if_its_draw_is_below_the_rate() -> None:
    draws = [public_draw(DrawFor.PARTICIPATION, 9, 2, holder) for holder in range(50)]
    joined = {holder for holder, draw in enumerate(draws) if draw < 2**64 // 4}
    assert Participation(50, Fraction(1, 4), 9).sampled(2) == joined
