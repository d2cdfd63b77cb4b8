"""Sealed files: whatever is changed is noticed."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.errors import ArtifactError
from mobilenetv2.model import seal


@given(
    st.binary(max_size=200),
    st.lists(st.binary(max_size=50), max_size=2),
    st.sampled_from([b"", b"-->\n"]),
)
def test_what_was_sealed_is_taken(body: bytes, beside: list[bytes], end: bytes) -> None:
    data = body + seal.digest(body, *beside).encode() + end
    seal.check(data, "m", *beside, end=end)


@given(st.binary(min_size=1, max_size=100), st.data())
def test_one_flipped_bit_is_noticed_anywhere(body: bytes, data: st.DataObject) -> None:
    sealed = bytearray(body + seal.digest(body, b"beside").encode())
    place = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[place // 8] ^= 1 << place % 8
    with pytest.raises(ArtifactError, match="m: it was changed or damaged since it was written"):
        seal.check(bytes(sealed), "m", b"beside")


def test_other_files_belong_to_it_each_by_itself() -> None:
    data = b"body" + seal.digest(b"body", b"ab", b"c").encode()
    seal.check(data, "m", b"ab", b"c")
    for beside in ((b"a", b"bc"), (b"abc",), (), (b"ab", b"d")):
        with pytest.raises(ArtifactError, match="checksum does not fit"):
            seal.check(data, "m", *beside)


def test_alone_it_is_the_plain_sha256() -> None:
    assert seal.digest(b"abc") == hashlib.sha256(b"abc").hexdigest()
    for short in (b"", b"0" * 63):
        with pytest.raises(ArtifactError):
            seal.check(short, "m")
