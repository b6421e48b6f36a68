"""Patterns and characters that are small to send and costly, or misleading, to take."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from slircd.security.filters import MAX_PATTERN, FilterSet, check_pattern
from slircd.state.model import Filter
from slircd.wire.casemap import CASEMAPS, in_log
from slircd.wire.masks import compile_glob
from slircd.wire.message import NotUtf8, parse, truncate_utf8
from slircd.wire.names import valid_channel, valid_nick
from tests.hostile.support import HostileTestCase


def cpu_s(action: Callable[[], object]) -> float:
    """CPU time of this process for an action, the least of a few tries."""
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(20):
            action()
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize("piece", ["*a", "*?", "?*a", "*a*", "**a"])
def test_masks_do_not_explode(piece: str) -> None:
    """Four times the mask and the text cost some sixteen times as much, not the 2^300 of backtracking."""
    small, large = (compile_glob(piece * count + "b") for count in (50, 200))
    few, many = "a" * 500, "a" * 2000
    assert small(few) is None
    assert large(many) is None
    assert cpu_s(lambda: large(many)) < 200 * max(cpu_s(lambda: small(few)), 1e-4)


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(a|aa)+$", "((a{0,20}){0,20})b", ".*.*.*.*=b", "(x+x+)+y"])
def test_filters_do_not_explode(pattern: str) -> None:
    """RE2 takes what makes other engines spin, and matches in time that grows with the text."""
    assert check_pattern(pattern) is None
    filters = FilterSet()
    filters.use([Filter(pattern, "block", "", "", "")])
    few, many = "a" * 100, "a" * 400
    assert cpu_s(lambda: filters.match(many)) < 200 * max(cpu_s(lambda: filters.match(few)), 1e-4)


@pytest.mark.parametrize(
    "pattern", ["(a{1000}){1000}", "a{100000}", "((((((a{99}){99}){99}){99}){99}){99})", "(", "x" * 301]
)
def test_filters_have_a_size(pattern: str) -> None:
    """What would be a program of gigabytes is refused, and so is what is too long."""
    assert check_pattern(pattern) is not None
    assert len("x" * 301) > MAX_PATTERN


OVERLONG = [b"\xc0\xaf", b"\xc1\x81", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xc0\x80", b"\xc0\x8a", b"\xe0\x80\x8a"]
NO_CHARACTERS = [
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\xbd\xed\xb8\x80",
    b"\xf4\x90\x80\x80",
    b"\xff",
    b"\x80",
    b"\xc3",
]


@pytest.mark.parametrize("data", [*OVERLONG, *NO_CHARACTERS])
def test_what_is_no_utf8(data: bytes) -> None:
    """Overlong forms (of a line end, too), surrogates, beyond Unicode, and halves of characters are refused."""
    for line in (b"PRIVMSG #c :a" + data, b"NICK a" + data, b"@+a=" + data + b" PRIVMSG #c :x", b"JOIN #" + data):
        with pytest.raises(NotUtf8):
            parse(line)


@pytest.mark.parametrize("text", ["é" * 300, "€" * 300, "😀" * 300, "a" + "😀" * 300, "e\u0301" * 300])
def test_cutting_keeps_characters_whole(text: str) -> None:
    """However many bytes there is room for, what is left is the beginning of the text, and UTF-8."""
    for size in range(64):
        cut = truncate_utf8(text, size)
        assert text.startswith(cut)
        assert size - 4 < len(cut.encode()) <= size


@pytest.mark.parametrize(
    "hidden", ["\u200b", "\u200d", "\u200c", "\u202e", "\u2066", "\u2028", "\ufeff", "\u00ad", "\u00a0", "\u0085"]
)
def test_names_have_nothing_hidden(hidden: str) -> None:
    """No nick and no channel differs from another only by what nobody sees, and none turns its reader's text round."""
    for name in (f"chat{hidden}", f"{hidden}chat", f"ch{hidden}at"):
        assert not valid_channel(f"#{name}", 64)
        assert not valid_nick(name, 30)
        assert not valid_nick(name, 30, precis=True)


def test_names_of_all_scripts_are_names() -> None:
    """Persian with its joiner, emoji with variant and joiner, combining accents."""
    for name in ("#\u0645\u06cc\u200c\u062e\u0648", "#❤\ufe0f", "#👩\u200d🚀", "#e\u0301te\u0301", "#日本語", "#наука"):
        assert valid_channel(name, 64), name


def test_spellings_of_one_name() -> None:
    """With `precis` a nick is the same however it is composed, wide or narrow, upper or lower."""
    fold = CASEMAPS[in_log("precis")].fold
    assert fold("Ame\u0301lie") == fold("AMÉLIE") == fold("amélie")
    assert fold("\uff21nn") == fold("ann")


class Texts(HostileTestCase):
    def test_cut_where_they_are_echoed(self) -> None:
        """Topics, reasons, real names and away messages of four-byte characters are cut between two of them."""
        eve = self.attacker()
        eve.sends("JOIN #own")
        smiles = "😀" * 120
        for line in (f"TOPIC #own :{smiles}", f"AWAY :{smiles}", f"SETNAME :{smiles}", f"PART #own :{smiles}"):
            eve.sends(line)
            self.waits(1)
        lines = eve.asks("WHOIS eve", f"PRIVMSG eve :{smiles}")
        self.assertTrue(any("😀" in line for line in lines))
        for line in [*lines, *eve.received]:
            self.assertLessEqual(len(line.encode()), 510)
            self.assertNotIn("\ufffd", line)
