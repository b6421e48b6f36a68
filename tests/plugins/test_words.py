"""What a plugin says of itself, and of its failures, is shown to operators: it is one line, whatever it is."""

from __future__ import annotations

import pytest

from slircd.plugins.interface import PluginFailed
from tests.fuzz.choices import Choices
from tests.fuzz.on_plugins import Child
from tests.fuzz.output import check_output


@pytest.mark.parametrize("text", ["1\r\nQUIT", "1\0", "\x01 \x85\u2028", "\n" * 500, "v" * 2000])
def test_versions_and_errors_are_one_line(text: str) -> None:
    """Neither a version nor an error can be another line for an operator, nor keep an event out of the log."""
    child = Child(Choices(b""))
    child.load()
    child.says(op="ready", holds=["seccomp"])
    child.says(op="done", id=child.number(), memory=1, version=text)
    child.says(op="done", id=child.number(), memory=1)
    assert isinstance(child.loading[0], list)
    child.ann.sends("PLUGIN INFO welcome", "PLUGIN LIST")
    child.world.clock.advance(1)
    child.bob.sends("PART #c", "JOIN #c")
    child.clock.advance(1)
    child.says(op="done", id=child.number(), memory=1, error=text)
    child.ann.sends("PLUGIN INFO welcome")
    lines = check_output(child.ann.transport.value())
    assert not any(line.startswith(b"QUIT") for line in lines)
    assert [event.event_type for event in child.world.events()].count("plugin.load") == 1


def test_texts_of_failures() -> None:
    """They are cut, too."""
    assert PluginFailed("error", "a\r\nb\0c").text == "a b c"
    assert len(PluginFailed("error", "x" * 5000).text) == 400
