"""Messages: bytes to values and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slircd.wire.message import (
    LineTooLong,
    MalformedLine,
    Message,
    NotUtf8,
    format_tags,
    parse,
    parse_tags,
    serialise,
    truncate_utf8,
    wrap,
)

text = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), max_size=20)
word = text.filter(lambda value: value and " " not in value and value[0] != ":")
tag_keys = st.from_regex(r"\+?([a-z0-9.-]+/)?[a-z0-9-]+", fullmatch=True)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    params = (*draw(st.lists(word, max_size=13)), *draw(st.lists(text, max_size=1)))
    return Message(
        draw(st.from_regex(r"[A-Z]{1,10}|[0-9]{3}", fullmatch=True)),
        params,
        draw(st.dictionaries(tag_keys, text, max_size=4)),
        draw(st.none() | word),
    )


@given(messages())
def test_what_is_serialised_parses_back(message: Message) -> None:
    """Every message that can be written reads as itself."""
    line = serialise(message)
    try:
        assert parse(line) == message
    except LineTooLong:
        assert len(line) > 500


@given(st.binary(max_size=600))
def test_any_bytes_are_a_message_or_a_wire_error(line: bytes) -> None:
    """No input makes the parser fail in another way."""
    try:
        message = parse(line.replace(b"\n", b""))
    except (LineTooLong, MalformedLine, NotUtf8):
        return
    assert message.command
    assert message.command == message.command.upper()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"PING", Message("PING")),
        (b"ping a", Message("PING", ("a",))),
        (b":src  PRIVMSG  #c  :a  b", Message("PRIVMSG", ("#c", "a  b"), source="src")),
        (b"CMD a :", Message("CMD", ("a", ""))),
        (b"CMD a b:c", Message("CMD", ("a", "b:c"))),
        (b"CMD a ", Message("CMD", ("a",))),
        (
            b"@a=b;c;+d/e=\\:\\s\\\\\\r\\n\\x TAGMSG x",
            Message("TAGMSG", ("x",), {"a": "b", "c": "", "+d/e": "; \\\r\nx"}),
        ),
        (b"CMD " + b" ".join(b"%d" % n for n in range(17)), Message("CMD", (*(str(n) for n in range(14)), "14 15 16"))),
    ],
)
def test_examples(line: bytes, expected: Message) -> None:
    """Spaces, trailing parameters, tags, and the fifteenth parameter that takes the rest."""
    assert parse(line) == expected


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"", MalformedLine),
        (b":source", MalformedLine),
        (b"@tag", MalformedLine),
        (b" @tag PING", MalformedLine),
        (b"A\0B", MalformedLine),
        (b"PRIVMSG x :\xff", NotUtf8),
        (b"X" * 511, LineTooLong),
        (b"@" + b"a" * 4095 + b" PING", LineTooLong),
    ],
)
def test_refusals(line: bytes, error: type[Exception]) -> None:
    """Each sort of bad line has its error."""
    with pytest.raises(error):
        parse(line)


def test_not_utf8_names_the_command() -> None:
    """The reply to a line that is not UTF-8 can say which command it was."""
    with pytest.raises(NotUtf8) as caught:
        parse(b":x privmsg y :\xe9")
    assert caught.value.command == "PRIVMSG"


@given(st.dictionaries(tag_keys, text, max_size=5))
def test_tags_round_trip(tags: dict[str, str]) -> None:
    """Tag values survive escaping."""
    assert parse_tags(format_tags(tags)[1:-1] if tags else "") == tags


@given(text, st.integers(0, 30))
def test_truncation_keeps_whole_characters(value: str, size: int) -> None:
    """The result is a prefix, fits, and is as long as it can be."""
    cut = truncate_utf8(value, size)
    assert value.startswith(cut)
    assert len(cut.encode()) <= size
    if cut != value:
        assert len(cut.encode()) + len(value[len(cut)].encode()) > size


@given(st.lists(word, max_size=30), st.integers(10, 60))
def test_wrapping_loses_nothing(words: list[str], size: int) -> None:
    """All words come out, in order, and lines of several words fit."""
    lines = list(wrap(words, size))
    assert [item for line in lines for item in line.split(" ")] == words
    assert all(len(line.encode()) <= size or " " not in line for line in lines)
