"""Targets: bytes, lines, tags, modes, masks, names, filters, times."""

from __future__ import annotations

from datetime import datetime

from slircd.events.clock import parse_moment, parse_timestamp
from slircd.security.filters import FilterSet, check_pattern
from slircd.state.model import Filter
from slircd.wire.capabilities import CAPABILITIES, RAW_BYTES
from slircd.wire.casemap import CASEMAPS, in_log
from slircd.wire.encoding import Encoding, decode_keeping, is_kept, is_usable, replace, restore
from slircd.wire.extbans import format_extban, looks_like_mask, parse_extban
from slircd.wire.formatting import has_formatting, strip_formatting
from slircd.wire.line import Line
from slircd.wire.masks import canonical_mask, compile_glob, matches_glob, matches_mask, network_of, split_mask
from slircd.wire.message import (
    MAX_BODY,
    MAX_CLIENT_TAGS,
    MAX_PARAMS,
    LineTooLong,
    Message,
    WireError,
    escape_tag_value,
    format_tags,
    parse,
    parse_tags,
    serialise,
    unescape_tag_value,
)
from slircd.wire.modes import CHANNEL_MODES, USER_MODES, format_changes, parse_changes
from slircd.wire.names import (
    clean_username,
    valid_channel,
    valid_host,
    valid_metadata_key,
    valid_nick,
    valid_plugin_name,
    valid_server_name,
    valid_username,
)
from tests.fuzz.choices import Choices
from tests.fuzz.registry import target

ENCODINGS = [Encoding("utf-8"), Encoding("bytes"), Encoding("windows-1252")]
FOLDS = [CASEMAPS[in_log(name)].fold for name in ("ascii", "rfc1459", "rfc1459-strict", "precis")]
BREAKS = ("\r", "\n", "\0")


def has_break(text: str) -> bool:
    """Whether a text would end a line, or be cut by somebody's C."""
    return any(mark in text for mark in BREAKS)


@target(
    max_bytes=9000,
    seeds=[
        b"PRIVMSG #c :hello",
        b"@label=1;+draft/react=\\:\\s\\\\;time=x :nick!u@h PRIVMSG #c,ann :\x02bold",
        b"CMD a b c d e f g h i j k l m n :o p q",
        b"PASS " + b"x" * 900,
        b"PRIVMSG x :caf\xe9 \xf4\x8f\xbe\x80",
    ],
)
def fuzz_message(data: bytes) -> None:
    """A line is a message or a WireError; what a message says is within the limits, and read again it is the same."""
    for encoding in ENCODINGS:
        try:
            message = parse(data, encoding.decode)
        except WireError:
            continue
        check_message(message)
        try:
            again = serialise(message)
        except ValueError:
            # What came in one line fits in one line, but for a source or a tag that only reading tolerates.
            assert message.source is not None and (not message.source or " " in message.source), message
            continue
        try:
            assert parse(again) == message
        except LineTooLong:
            assert len(format_tags(message.tags)) - 2 > MAX_CLIENT_TAGS or encoding.name != "utf-8"


def check_message(message: Message) -> None:
    assert message.command and message.command == message.command.upper() and message.command.isascii()
    assert len(message.params) <= MAX_PARAMS
    for param in message.params:
        assert not has_break(param)
    for param in message.params[:-1]:
        assert param and " " not in param and not param.startswith(":"), message
    assert not has_break(message.source or "")
    assert not any("\0" in value for value in message.tags.values())


@target(max_bytes=600, seeds=[b"a=b;c;+d/e=\\:\\s\\\\\\r\\n\\x", b"a=1;a=2", b"+vendor.example/x=\xc3\xa9"])
def fuzz_tags(data: bytes) -> None:
    """Tags that were read are written and read as the same; any value survives its escaping."""
    # A NUL has no escape: no line may have it, and it is left out.
    text = data.decode("utf-8", "replace").replace("\0", "")
    tags = parse_tags(text)
    written = format_tags(tags)
    if tags:
        assert parse_tags(written[1:-1]) == tags
    escaped = escape_tag_value(text)
    assert unescape_tag_value(escaped) == text
    assert not any(mark in escaped for mark in "\r\n; ")
    assert escape_tag_value(f"{text}\0") == escaped


@target(max_bytes=2500, seeds=[b"\x07\x01PRIVMSG #c :hello", b"\xff\x02" + b"\xc3\xa9" * 300])
def fuzz_line(data: bytes) -> None:
    """An outgoing line is one line within the limits, UTF-8 for all who are not known to take other bytes."""
    choices = Choices(data)
    caps = choices.number(256)
    tags = {f"+t{index}": choices.text(200).replace("\0", "") for index in range(choices.number(4))}
    body = decode_keeping(choices.rest()).translate({ord(mark): " " for mark in BREAKS})
    line = Line(body, timestamp="2025-06-15T12:00:00.000000Z", account="ann", msgid="m", client_tags=tags, bot=True)
    for bits in (caps, caps | RAW_BYTES, (1 << 33) - 1):
        encoded = line.encoded(bits)
        assert encoded.endswith(b"\r\n")
        assert not any(mark in encoded[:-2] for mark in (b"\r", b"\n"))
        if encoded.startswith(b"@") and not body.startswith("@"):
            head, _, rest = encoded.partition(b" ")
            assert len(rest) <= MAX_BODY
            shown = parse_tags(head[1:].decode("utf-8", "replace"))
            if not bits & RAW_BYTES and "+t0" in shown and not is_kept("".join(tags.values())):
                assert shown["+t0"] == tags["+t0"]
        elif not body.startswith("@"):
            assert len(encoded) <= MAX_BODY
        if not bits & RAW_BYTES:
            encoded.decode()
    assert line.encoded(CAPABILITIES["server-time"]) is line.encoded(CAPABILITIES["server-time"])


@target(max_bytes=300, seeds=[b"plain", b"caf\xe9", b"\xf4\x8f\xbe\x80\xff", "é\U0010ffe9".encode()])
def fuzz_encoding(data: bytes) -> None:
    """Bytes that are kept come out as they came in, and who takes UTF-8 only gets UTF-8."""
    text = decode_keeping(data)
    written = text.encode()
    assert restore(written) == data
    replace(written).decode()
    try:
        plain = data.decode()
    except UnicodeDecodeError:
        assert is_kept(text)
    else:
        assert text == plain or is_kept(plain)
    for encoding in ENCODINGS:
        try:
            shown = encoding.decode(data)
        except UnicodeDecodeError:
            assert encoding.is_utf8_only
            continue
        shown.encode()
        assert has_break(shown) == any(mark.encode() in data for mark in BREAKS)
    is_usable(data[:20].decode("latin-1"))


@target(max_bytes=400, seeds=[b"+ov-l ann bob", b"b+k-k+be key *!*@* x", b"+qaohvbeIkfjl 1 2 3 4 5 6 7 8 9 10 11 12"])
def fuzz_modes(data: bytes) -> None:
    """Whatever a mode string asks for is told apart, and written out again it asks for the same."""
    words = [word for word in data.decode("utf-8", "replace").split(" ") if word]
    for table in (CHANNEL_MODES, USER_MODES):
        parsed = parse_changes(words, table)
        letters = [letter for letter in (words[0] if words else "") if letter not in "+-"]
        assert len(parsed.changes) + len(parsed.unknown) + len(parsed.missing) <= len(letters)
        assert set(parsed.queries) <= set("beI")
        assert not set(parsed.unknown) & set(table.kinds)
        again = []
        for line in format_changes(parsed.changes, 4, 100):
            assert sum(letter not in "+-" for letter in line[0]) <= 4
            read = parse_changes(line, table)
            assert not (read.unknown or read.missing or read.queries)
            again += read.changes
        assert again == parsed.changes


def glob_by_the_book(pattern: str, text: str) -> bool:
    """Whether a glob matches, the slow and simple way."""
    row = [True] + [False] * len(text)
    for sign in pattern:
        before, row = row, [row[0] and sign == "*"]
        for index, character in enumerate(text):
            if sign == "*":
                row.append(row[index] or before[index + 1])
            else:
                row.append(before[index] and sign in ("?", character))
    return row[-1]


@target(
    max_bytes=300,
    seeds=[
        b"nick!user@host\nann",
        b"*a*b?c*\naxxbxc",
        b"~m:~t:5:~a:x*\nxyz",
        b"*!*@192.0.2.0/24\n192.0.2.1",
        b"*!*@2001:db8::/32\n2001:db8::1",
        b"*" * 60 + b"a\n" + b"b" * 60,
    ],
)
def fuzz_masks(data: bytes) -> None:
    """Masks have one canonical form; a glob matches what it says, and any mask can be asked of anybody."""
    pattern, _, text = data.decode("utf-8", "replace").partition("\n")
    canonical = canonical_mask(pattern)
    assert canonical_mask(canonical) == canonical
    parts = split_mask(pattern)
    assert all(parts)
    assert "**" not in canonical
    assert matches_glob(pattern, text) == glob_by_the_book(pattern, text)
    assert matches_glob(pattern, "") == (not pattern.strip("*"))
    for fold in FOLDS:
        matches_mask(canonical, text, text, [text, "192.0.2.1"], "192.0.2.1", fold)
        matches_mask(canonical, "n", "u", ["h"], text, fold)
    network_of(pattern)
    compile_glob(pattern)
    entry = parse_extban(pattern)
    if entry is not None:
        form = format_extban(entry)
        assert parse_extban(form) == entry
        assert format_extban(entry) == form
    looks_like_mask(pattern)


@target(
    max_bytes=80,
    seeds=[
        b"ann",
        b"#channel",
        "Ünïcödé".encode(),
        b"host.example.org",
        b"2001:db8::1",
        "ﬀ".encode(),
        "ǅ\u0345".encode(),
    ],
)
def fuzz_names(data: bytes) -> None:
    """A name has one folded form; what is a name has nothing in it that would break a line, a list or a mask."""
    text = data.decode("utf-8", "replace")
    for fold in FOLDS:
        folded = fold(text)
        assert fold(folded) == folded, (text, folded)
    for precis in (False, True):
        if valid_nick(text, 64, precis=precis):
            for fold in FOLDS:
                assert not set(fold(text)) & set(" ,!@*?#:\0\r\n") and not fold(text).startswith(("#", ":", "$"))
                assert fold(text)
    if valid_channel(text, 64):
        assert text.startswith("#") and not set(text) & set(" ,\0\r\n\a")
    name = clean_username(text, 10)
    assert valid_username(name, 10)
    if valid_host(text):
        assert text.isascii() and not set(text) & set(" !@*?,")
        assert not text.startswith(":")
    if valid_server_name(text):
        assert valid_host(text)
    if valid_plugin_name(text):
        assert "/" not in text and not text.startswith(".")
    if valid_metadata_key(text):
        assert " " not in text
    clean = strip_formatting(text)
    assert has_formatting(text) or clean == text


@target(
    max_bytes=400, seeds=[b"spam\nbuy spam now", b"(a+)+$\naaaaaaaaaaaaaaa!", b"[\nx", b"(?i)x|y{2,}\nyy", b"\\pL+\nx"]
)
def fuzz_filters(data: bytes) -> None:
    """A pattern is refused in words, or it is used together with others and finds what it finds alone."""
    pattern, _, text = data.decode("utf-8", "replace").partition("\n")
    problem = check_pattern(pattern)
    if problem is not None:
        assert problem and (has_break(pattern) or not has_break(problem))
        return
    alone, together = FilterSet(), FilterSet()
    found = Filter(pattern, "block", "r", "x", "2025")
    alone.use([found])
    together.use([Filter("zzzz", "block", "r", "x", "2025"), found])
    assert alone.match("") is None
    if alone.match(text) is not None:
        assert together.match(text) is not None
    elif "zzzz" not in text.lower():
        assert together.match(text) is None


@target(
    max_bytes=60,
    seeds=[
        b"2025-01-01",
        b"2025-01-01T12:00:00Z",
        b"2025-01-01T12:00:00.123456+02:00",
        b"-15m",
        b"-999999999w",
        b"2025-W01-1",
        b"20250101T120000",
        b"0001-01-01T00:00:00+14:00",
    ],
)
def fuzz_moment(data: bytes) -> None:
    """What people write for a time is a timestamp of the log, or refused with what is allowed."""
    text = data.decode("utf-8", "replace")
    try:
        moment = parse_moment(text, 1_750_000_000.0)
    except ValueError as error:
        assert "2025-01-01" in str(error)
        return
    assert len(moment) == 27 and moment.isascii(), (text, moment)
    assert parse_moment(moment, 0.0) == moment
    assert datetime.fromisoformat(moment)
    parse_timestamp(moment)
