"""Masks, globs, extended bans, mode strings, names, formatting."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slircd.wire.casemap import CASEMAPS
from slircd.wire.extbans import Extban, format_extban, looks_like_mask, parse_extban
from slircd.wire.formatting import has_formatting, is_ctcp, strip_formatting
from slircd.wire.masks import canonical_mask, matches_glob, matches_mask
from slircd.wire.modes import CHANNEL_MODES, Change, format_changes, parse_changes
from slircd.wire.names import clean_username, valid_channel, valid_host, valid_nick, valid_server_name
from slircd.wire.numerics import NUMERICS

glob = st.text("ab*?", max_size=8)


@given(glob, st.text("ab", max_size=8))
def test_globs_match_as_regular_expressions_do(pattern: str, subject: str) -> None:
    """The linear matcher agrees with the obvious one."""
    obvious = "".join({"*": ".*", "?": "."}.get(character, character) for character in pattern)
    assert matches_glob(pattern, subject) == (re.fullmatch(obvious, subject) is not None)


def test_no_mask_makes_the_server_spin() -> None:
    """A mask made to backtrack costs no more than any other: its steps are bounded, not raced against a clock."""
    started = time.process_time()
    for _ in range(10):
        assert not matches_glob("*a" * 60 + "b", "a" * 400)
    assert time.process_time() - started < 30  # hours, if it backtracked


@pytest.mark.parametrize(
    ("mask", "canonical"),
    [
        ("nick", "nick!*@*"),
        ("nick!user", "nick!user@*"),
        ("user@host", "*!user@host"),
        ("host.example", "*!*@host.example"),
        ("2001:db8::/32", "*!*@2001:db8::/32"),
        ("a!b@c", "a!b@c"),
        ("***!*@**", "*!*@*"),
        ("!@", "*!*@*"),
    ],
)
def test_masks_are_completed(mask: str, canonical: str) -> None:
    """What is left out is a star."""
    assert canonical_mask(mask) == canonical
    assert canonical_mask(canonical) == canonical


def test_matching_knows_hosts_and_networks() -> None:
    """Any of the hosts may match; CIDR goes by the address."""
    fold = CASEMAPS["ascii"].fold

    def hits(mask: str) -> bool:
        return matches_mask(canonical_mask(mask), "Ann", "~ann", ("cloak.x", "192.0.2.7"), "192.0.2.7", fold)

    assert all(hits(mask) for mask in ("ANN", "*!*@CLOAK.*", "192.0.2.7", "192.0.2.0/24", "a?n!~a*@*"))
    assert not any(hits(mask) for mask in ("bob", "192.0.3.0/24", "*!ann@*", "192.0.2.0/33"))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("nick", Extban("", "", "nick!*@*")),
        ("~a:ann", Extban("", "a", "ann")),
        ("~U", Extban("", "U", "")),
        ("~m:nick", Extban("m", "", "nick!*@*")),
        ("~m:~a:x", Extban("m", "a", "x")),
        ("~t:5:x!*@*", Extban("", "", "x!*@*", 5)),
        ("~t:5:~m:~r:x*", Extban("m", "r", "x*", 5)),
        ("~t:5:~n:x", Extban("n", "", "x!*@*", 5)),
        *[
            (bad, None)
            for bad in ("~", "~q:x", "~a", "~a:", "~ax", "~U:x", "~m:~m:x", "~t:x:y", "~t:0:y", "~t:5:~t:5:y")
        ],
    ],
)
def test_extended_bans(text: str, parsed: Extban | None) -> None:
    """Matching, acting, timed, and what is none; formatting gives the same again."""
    assert parse_extban(text) == parsed
    if parsed is not None:
        assert parse_extban(format_extban(parsed)) == parsed


def test_a_nick_is_no_mask() -> None:
    """+q tells an owner's nick from a mask."""
    assert not any(looks_like_mask(nick) for nick in ("ann", "A[n]n", "x-y", "|z|"))
    assert all(looks_like_mask(mask) for mask in ("ann!*@*", "*", "a.b", "~a:x", "1::2"))


@given(
    st.lists(
        st.builds(
            Change,
            st.sampled_from("+-"),
            st.sampled_from("ovbk"),
            st.text("abc", min_size=1, max_size=20),
        ),
        max_size=30,
    ),
    st.integers(1, 8),
)
def test_mode_strings_round_trip(changes: list[Change], most: int) -> None:
    """Formatting splits as told, and parsing all parts gives the changes again."""
    words = list(format_changes(changes, most, 60))
    assert all(len(each) - 1 <= most for each in words)
    assert [change for each in words for change in parse_changes(each, CHANNEL_MODES).changes] == changes


def test_names() -> None:
    """What may be a nick, channel, host, server or user name."""
    assert valid_nick("[a]\\`_^{|}-9", 30)
    assert not any(valid_nick(bad, 5) for bad in ("", "9a", "-a", "a b", "é", "a!b", "abcdef"))
    assert valid_channel("#é-!", 10)
    assert not any(valid_channel(bad, 10) for bad in ("a", "#a b", "#a,b", "#a\x07", "#" + "x" * 10))
    assert all(valid_host(good) for good in ("localhost", "a/b", "1.2.3.4", "a.b"))
    assert not any(valid_host(bad) for bad in ("", "nodot", ":1::", "a.b-", "a b.c", "x" * 64))
    assert valid_server_name("irc.example.org")
    assert not any(valid_server_name(bad) for bad in ("irc", "irc..org", "-.a", "a b.c"))
    assert clean_username("a!b@c é", 10) == "abc"
    assert clean_username("!!!", 10) == "user"


def test_formatting() -> None:
    """Colours with their numbers go; what is no code stays."""
    assert strip_formatting("\x0304,12x\x03 1\x02b\x02\x1d\x0f\x04FF0000y") == "x 1by"
    assert has_formatting("\x02")
    assert not has_formatting("plain 04")
    assert is_ctcp("\x01VERSION\x01")
    assert not is_ctcp("\x01ACTION x\x01")


@pytest.mark.parametrize("name", ["ascii", "rfc1459", "rfc1459-strict"])
def test_casemaps_are_idempotent(name: str) -> None:
    """Folding twice is folding once, and ASCII letters always fold."""
    fold = CASEMAPS[name].fold
    text = "".join(map(chr, range(33, 127))) + "É"
    assert fold(fold(text)) == fold(text)
    assert fold("ABC") == "abc"
    assert (fold("[") == "{") == (name != "ascii")
    assert (fold("~") == "^") == (name == "rfc1459")


def test_numerics_have_three_digits() -> None:
    """Codes are codes."""
    assert all(re.fullmatch(r"[0-9]{3}", numeric.code) for numeric in NUMERICS.values())
