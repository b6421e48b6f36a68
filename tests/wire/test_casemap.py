"""Case mappings: which names are the same."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slircd.wire.casemap import CASEMAPS, in_log
from slircd.wire.names import valid_nick

precis = CASEMAPS[in_log("precis")]


@pytest.mark.parametrize(
    ("name", "one", "other", "same"),
    [
        ("ascii", "Ann[", "aNN[", True),
        ("ascii", "a[", "a{", False),
        ("ascii", "É", "é", False),
        ("rfc1459", "A[]\\~", "a{}|^", True),
        ("rfc1459-strict", "A[]\\", "a{}|", True),
        ("rfc1459-strict", "~", "^", False),
        ("precis", "ÉVA", "éva", True),
        ("precis", "E\N{COMBINING ACUTE ACCENT}va", "éva", True),
        ("precis", "\N{FULLWIDTH LATIN CAPITAL LETTER A}nn", "ann", True),
        ("precis", "#ΣΊΣΥΦΟΣ", "#σίσυφος", True),
        ("precis", "a[", "a{", False),
    ],
)
def test_same_name(name: str, one: str, other: str, same: bool) -> None:
    """What each mapping takes for one name."""
    fold = CASEMAPS[in_log(name)].fold
    assert (fold(one) == fold(other)) is same


@given(st.text())
def test_folded_is_folded(text: str) -> None:
    """Folding twice is folding once, for every mapping and any text."""
    for name in ("ascii", "rfc1459", "rfc1459-strict", "precis"):
        fold = CASEMAPS[in_log(name)].fold
        assert fold(fold(text)) == fold(text)


def test_version_of_unicode_is_pinned() -> None:
    """The log's name has the version; a newer one than Python's is refused, an older one is followed."""
    assert precis.name == f"precis-{unicodedata.unidata_version}"
    assert CASEMAPS["precis-9.0.0"].fold("É") == "é"
    for name in ("precis-99.0.0", "precis-x", "nosuch"):
        with pytest.raises(KeyError):
            CASEMAPS[name]


@pytest.mark.parametrize(
    ("nick", "plain", "other"),
    [
        ("ann", True, True),
        ("[a]`", True, True),
        ("évà", False, True),
        ("Иван", False, True),
        ("日本", False, True),
        ("1é", False, False),
        ("é!", False, False),
        ("é a", False, False),
        ("é\N{ZERO WIDTH JOINER}", False, False),
        ("☃", False, False),
        ("é" * 16, False, False),
        ("\N{FULLWIDTH ASTERISK}", False, False),
        ("\N{FULLWIDTH NUMBER SIGN}a", False, False),
        ("a\N{FULLWIDTH EXCLAMATION MARK}b", False, False),
        ("\N{FULLWIDTH LATIN SMALL LETTER A}", False, True),
        ("\N{HEBREW LETTER ALEF}a", False, False),
    ],
)
def test_nicks(nick: str, plain: bool, other: bool) -> None:
    """Without precis a nick is ASCII; with it letters of all scripts, and nothing that hides or has a meaning."""
    assert valid_nick(nick, 30) is plain
    assert valid_nick(nick, 30, precis=True) is other
