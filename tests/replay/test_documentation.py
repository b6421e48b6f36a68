"""docs/time-travel.md: every command that it shows is run here, and says what the page says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.incident import Incident
from tests.replay.test_replay import run, save

PAGE = (Path(__file__).parents[2] / "docs" / "time-travel.md").read_text()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("incident") / "slircd.db"
    save(Incident().world, path)
    return path


def words_of(line: str, log: Path) -> list[str]:
    """The words of a command behind its name, with the places of this test."""
    places = {"slircd.db": str(log), "/srv/slircd-new": sys.prefix}
    words = [places.get(word, word) for word in shlex.split(line, comments=True)]
    assert words[0] == "slircd-replay"
    # The first page of the documentation has the dates of no log.
    return ["2025-06-15T15:16:00Z" if word == "2025-01-01T12:00:00Z" else word for word in words[1:]]


def blocks(kind: str) -> Iterator[str]:
    return iter(re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL))


def test_the_incident_reads_as_shown(log: Path) -> None:
    """Each command of the incident prints, through jq where the page has it, exactly what stands below it."""
    count = 0
    for block in blocks("console"):
        command, _, shown = block.partition("\n")
        replay, pipe, jq = command.removeprefix("$ ").partition(" | ")
        result = run(*words_of(replay, log))
        assert result.exit_code == 0, result.stderr
        text = result.stdout
        if pipe:
            filtered = subprocess.run(shlex.split(jq), input=text, capture_output=True, text=True, check=False)
            assert filtered.returncode == 0, filtered.stderr
            text = filtered.stdout
        assert text == shown, command
        count += 1
    assert count == 6


def test_what_chanserv_says() -> None:
    """The founder's dry run and confirmation, as the page has them."""
    incident = Incident()
    [block] = blocks("irc")
    told = [line.removeprefix("ann < ") for line in block.splitlines() if line.startswith("ann < ")]
    assert told == [*incident.shown, *incident.done]


def test_other_commands_run(log: Path) -> None:
    """Each command that is shown without its answer ends well on a real log."""
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("slircd-replay")]
    assert len(lines) > 10
    for line in lines:
        command = re.split(r" [|>] ", line)[0]
        if "--follow" in command:
            continue
        if "--user" in command or re.search(r"--(at|diff) -", command):
            # Times ago are about a log that goes on: here they would all be its end.
            command = re.sub(r" -\d+[smhdw]", " 2025-06-15T15:16:00Z", command)
        result = run(*words_of(command, log))
        assert result.exit_code == 0, (line, result.stderr)
