"""Bytes that are not UTF-8, kept and given back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slircd.wire.encoding import Encoding, decode_keeping, is_kept, is_usable, replace, restore


@given(
    st.one_of(
        st.binary(),
        st.text().map(str.encode),
        st.lists(st.sampled_from([b"\xf4\x8f\xbc\x80", b"\xf4\x8f", b"\xbf", b"a"])).map(b"".join),
    )
)
def test_any_bytes_come_back(data: bytes) -> None:
    """What is kept is restored to the byte, also where it was the UTF-8 of a character that stands for a byte."""
    text = decode_keeping(data)
    assert restore(text.encode()) == data
    assert Encoding("bytes").decode(data) == text


@given(st.binary())
def test_others_get_utf8(data: bytes) -> None:
    """Whoever takes nothing but UTF-8 gets UTF-8."""
    assert not is_kept(replace(decode_keeping(data).encode()).decode())


@given(st.text(st.characters(max_codepoint=0x10FEFF, exclude_categories=["Cs"])))
def test_utf8_is_not_touched(text: str) -> None:
    """Text that is UTF-8 is what it says."""
    assert decode_keeping(text.encode()) == text
    assert not is_kept(text)


def test_older_encodings() -> None:
    """What is not UTF-8 is read as the encoding; what it does not know is kept."""
    western = Encoding("windows-1252")
    assert western.decode(b"caf\xe9 \x80") == "café €"
    assert western.decode("café".encode()) == "café"
    assert restore(western.decode(b"\xe9\x81").encode()) == "é".encode() + b"\x81"
    with pytest.raises(UnicodeDecodeError):
        Encoding("utf-8").decode(b"\xe9")


@pytest.mark.parametrize(
    ("name", "usable"),
    [
        ("bytes", True),
        ("latin-1", True),
        ("koi8-r", True),
        ("gbk", True),
        ("utf-16", False),
        ("rot13", False),
        ("x", False),
        ("utf-8\0", False),
    ],
)
def test_names(name: str, usable: bool) -> None:
    """Only encodings in which a line is a line."""
    assert is_usable(name) is usable
