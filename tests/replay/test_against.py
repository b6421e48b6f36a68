"""What if: another version of slircd, in an environment of its own, replays the same log."""

from __future__ import annotations

import json
import shutil
import site
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import slircd
from slircd.events.reader import LogReader
from tests.harness import World
from tests.replay.test_replay import run, save


def another(folder: Path, *, changes: dict[str, tuple[str, str]], missing: str | None = None) -> Path:
    """An environment with a copy of slircd in which texts of files are replaced."""
    code = folder / "code"
    shutil.copytree(Path(slircd.__file__).parent, code / "slircd", ignore=shutil.ignore_patterns("__pycache__"))
    for name, (old, new) in changes.items():
        file = code / "slircd" / name
        text = file.read_text()
        assert text.count(old) == 1, (name, old)
        file.write_text(text.replace(old, new))
    if missing is not None:
        (code / "slircd" / missing).unlink()
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    [packages] = environment.glob("lib/python*/site-packages")
    (packages / "other.pth").write_text("\n".join([str(code), *site.getsitepackages()]))
    return environment


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log in which one event in the middle is an away message."""
    world = World()
    ann = world.client("ann")
    for number in range(40):
        ann.sends(f"NICK n{number}")
    world.clock.advance(10)
    ann.sends("AWAY :lunch")
    for number in range(300):
        ann.sends(f"SETNAME :r{number}")
    save(world, tmp_path / "log.db")
    return tmp_path / "log.db"


def compared(log: Path, environment: Path, *words: str) -> tuple[int, Any, str]:
    result = run("--db", log, "--against", environment, *words)
    return result.exit_code, json.loads(result.stdout) if result.stdout else None, result.stderr


def test_first_difference(log: Path, tmp_path: Path) -> None:
    """The first event that the other takes differently is found exactly, and what differs after it."""
    change = (".away = event.message or None", '.away = (event.message or "").upper() or None')
    environment = another(tmp_path, changes={"state/apply.py": change})
    status, found, _ = compared(log, environment)
    assert status == 7
    assert found["equal"] is False
    first = found["first_difference"]
    assert first["event_type"] == "user.away"
    assert first["this"]["digest"] != first["other"]["digest"]
    [change] = first["changes"]
    assert (change["path"][2], change["before"], change["after"]) == ("away", "lunch", "LUNCH")
    with LogReader(str(log)) as reader:
        before = next(iter(reader.rows(before_id=first["id"], newest=True)))
    status, found, _ = compared(log, environment / "bin" / "python", "--at", before.timestamp)
    assert (status, found["equal"]) == (0, True)


def test_equal(log: Path, tmp_path: Path) -> None:
    """The same code makes the same of it."""
    status, found, _ = compared(log, another(tmp_path, changes={}))
    assert (status, found["equal"], found["first_difference"]) == (0, True, None)
    assert found["events"] > 340


@pytest.mark.parametrize(("bug", "word"), [("{}[event.message]", "is damaged"), ("1 + event.message", "TypeError")])
def test_the_other_cannot_read_an_event(log: Path, tmp_path: Path, bug: str, word: str) -> None:
    """That is a difference, too, and names the event."""
    change = (".away = event.message or None", f".away = {bug}")
    status, found, _ = compared(log, another(tmp_path, changes={"state/apply.py": change}))
    first = found["first_difference"]
    assert (status, first["event_type"]) == (7, "user.away")
    assert word in first["other"]["error"]
    assert first["other"]["damaged_id"] in (first["id"], None)
    assert first["changes"] == []


@pytest.mark.parametrize(
    ("changes", "missing", "words"),
    [
        ({}, "replay/against.py", "too old to be compared"),
        ({"state/snapshot.py": ("DIGEST_VERSION: Final = 1", "DIGEST_VERSION: Final = 2")}, None, "makes its digests"),
        ({"events/schema.py": ("HEAD_REVISION: Final = ", 'HEAD_REVISION: Final = "0001" or ')}, None, "newer version"),
    ],
)
def test_others_that_cannot_be_compared(
    log: Path, tmp_path: Path, changes: dict[str, tuple[str, str]], missing: str | None, words: str
) -> None:
    """Each gets its reason and a status of its own."""
    status, found, said = compared(log, another(tmp_path, changes=changes, missing=missing))
    assert (status, found) == (3, None)
    assert words in said
