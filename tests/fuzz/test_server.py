"""The whole server with many clients, a little of it each time; `python -m tests.fuzz.server` goes on for longer."""

from __future__ import annotations

from random import Random

import pytest

from slircd.commands.registry import COMMANDS, Context
from tests.fuzz.choices import Choices
from tests.fuzz.grammar import Lines, usages
from tests.fuzz.server import Run, fuzz_server
from tests.fuzz.watch import no_failures
from tests.harness import World

SIZE = 4000


@pytest.mark.parametrize("seed", range(24))
def test_everything_agrees(seed: int) -> None:
    """Some hundred steps, and everything agrees; `python -m tests.fuzz.server --size 4000 --seed N` does one again."""
    fuzz_server(Random(seed).randbytes(SIZE))


def test_lines_are_of_all_commands() -> None:
    """What HELP shows becomes lines, with and without what is optional, and nothing of its notation is left."""
    lines = Lines(Choices(Random(1).randbytes(400_000)), World())
    assert {usage.split()[0] for usage in usages()} >= COMMANDS.keys() - {"DIE"}
    for usage in usages():
        made = {lines._expand(lines._alternative(usage)) for _ in range(40)}
        assert any(line.split()[0] == usage.split()[0] for line in made), usage
        if "[" in usage or "<" in usage:
            assert len(made) > 1, usage


def test_it_finds_a_handler_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback in the log is a failure."""

    def broken(ctx: Context, *words: str) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setitem(COMMANDS, "JOIN", COMMANDS["JOIN"]._replace(handler=broken))
    with pytest.raises(AssertionError, match="broken on purpose"):
        fuzz_server(Random(3).randbytes(SIZE))


def test_it_finds_what_changes_behind_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a state that is not the log's, and one that does not agree with itself."""

    def quietly_away(ctx: Context, *words: str) -> None:
        ctx.user.away = "behind the log"

    monkeypatch.setitem(COMMANDS, "JOIN", COMMANDS["JOIN"]._replace(handler=quietly_away))
    with pytest.raises(AssertionError, match="live is not replayed"):
        fuzz_server(Random(3).randbytes(SIZE))

    def elsewhere(ctx: Context, *words: str) -> None:
        ctx.state.memberships[ctx.uid]["#nowhere"] = None

    monkeypatch.setitem(COMMANDS, "JOIN", COMMANDS["JOIN"]._replace(handler=elsewhere))
    with pytest.raises(AssertionError, match="memberships"):
        fuzz_server(Random(3).randbytes(SIZE))


@pytest.mark.parametrize(
    "data", [b"NOTICE x :a\nQUIT\r\n", b"NOTICE x :\xff\r\n", b"NOTICE x :" + b"y" * 501 + b"\r\n", b"PING"]
)
def test_it_finds_a_line_that_is_none(data: bytes) -> None:
    """So is a line with another one in it, one that is too long, not UTF-8, or without its end."""
    with no_failures() as failures:
        one = Run(Choices(b""), failures, [])
        one.world.client("ann").transport.write(data)
        with pytest.raises((AssertionError, UnicodeDecodeError)):
            one.collect()


def test_it_finds_what_was_shown_too_early() -> None:
    """So is a client that saw what the log does not have."""

    with no_failures() as failures:
        one = Run(Choices(b"\x00\x00" + Random(3).randbytes(SIZE)), failures, [])
        ann = one.world.client("ann")
        ann.sends("JOIN #a")
        one.collect()
        one.look()
        ann.transport.write(b":bob!~u@192.0.2.9 KICK #a ann :\r\n")
        one.collect()
        with pytest.raises(AssertionError, match="not in the log"):
            one.look()
