"""Time travel: the command, the reconstruction, the differences, the blame."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from slircd.events.clock import format_timestamp, parse_moment
from slircd.events.reader import LogReader
from slircd.events.store import SQLStore
from slircd.replay.cli import main
from slircd.replay.document import ServerSnapshot, to_document
from slircd.replay.reconstructor import Replayed, StateReconstructor, replay
from slircd.state.snapshot import decode_snapshot, digest, encode_snapshot
from tests.harness import START, World
from tests.test_audit import newcomer, random_line


def save(world: World, path: Path) -> None:
    """Write a world's log to a file, as the store does."""
    store = SQLStore(f"sqlite:///{path}", call_in_reactor=lambda *_: None, seconds=float)
    store.open()
    store.append(world.store.rows)
    store.close()


@pytest.fixture
def incident(tmp_path: Path) -> Path:
    """A log of some minutes: a channel is made, changed, and taken over."""
    world = World()
    ann, bob = world.client("ann"), world.client("bob")
    ann.sends("JOIN #Ops", "TOPIC #ops :calm", "MODE #ops +b old!*@*")
    bob.sends("JOIN #ops")
    world.clock.advance(60)
    ann.sends("MODE #ops +ok bob sesame")
    world.clock.advance(60)
    bob.sends("TOPIC #ops :ours now", "MODE #ops +m-b old!*@*", "KICK #ops ann :bye")
    path = tmp_path / "slircd.db"
    save(world, path)
    return path


def at(seconds: float) -> str:
    return format_timestamp(START + seconds)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def answer(*arguments: str | Path) -> Any:
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_any_moment(incident: Path) -> None:
    """The state at a time includes it; later times know more; equal questions have equal bytes."""
    early = answer("--db", incident, "--at", at(1))
    [channel] = early["channels"]
    assert channel["name"] == "#Ops"
    assert channel["topic"]["text"] == "calm"
    assert [member["nick"] + member["prefixes"] for member in channel["members"]] == ["anno", "bob"]
    assert [entry["mask"] for entry in channel["lists"]["b"]] == ["old!*@*"]
    late = answer("--db", incident)
    assert late["channels"][0]["topic"]["text"] == "ours now"
    assert late["channels"][0]["params"] == {"k": "*"}
    assert answer("--db", incident, "--show-keys")["channels"][0]["params"] == {"k": "sesame"}
    assert run("--db", incident, "--at", at(1)).stdout == run("--db", incident, "--at", at(1)).stdout
    exact = early["channels"][0]["created_at"]
    assert answer("--db", incident, "--at", exact)["channels"]


def test_narrowed(incident: Path) -> None:
    """--channel and --user leave what was asked for."""
    assert [each["name"] for each in answer("--db", incident, "--channel", "#OPS")["found"]] == ["#Ops"]
    assert [each["nick"] for each in answer("--db", incident, "--user", "ANN")["found"]] == ["ann"]


def test_documents_follow_the_schema(incident: Path) -> None:
    """What is printed can be read by the types that the schema is made from."""
    document = run("--db", incident).stdout
    assert msgspec.json.decode(document, type=ServerSnapshot).position.id > 0
    assert answer("--schema")["$defs"]["ChannelView"]["properties"]["topic"]


def test_diff(incident: Path) -> None:
    """What changed from one moment to another, for programs and for people."""
    changes = answer("--db", incident, "--diff", at(70), at(200))["changes"]
    found = {(each["kind"], *each["path"][2:]) for each in changes if each["path"][0] == "channels"}
    assert ("changed", "topic", "text") in found
    assert ("changed", "modes") in found
    assert ("removed", "lists", "b") in found
    assert any(key[:2] == ("removed", "members") for key in found)
    text = run("--db", incident, "--diff", at(70), at(200), "--human").stdout
    assert "bob kicked ann: bye on #ops" in text
    assert "bob topic: ours now on #ops" in text
    only = answer("--db", incident, "--diff", at(70), at(200), "--user", "ann")["changes"]
    assert {each["path"][0] for each in only} == {"users"}
    assert answer("--db", incident, "--diff", at(200), at(200))["changes"] == []


def test_blame(incident: Path) -> None:
    """Each thing that is set names its event, its time and its author; keys are masked."""
    found = {(each["what"], each["value"]): each["by"] for each in answer("--db", incident, "--blame", "#ops")}
    assert found["topic", "ours now"] == "bob"
    assert found["mode +m", ""] == "bob"
    assert found["mode +k", "*"] == "ann"
    assert found["mode +n", ""] == "ann"
    assert not any(what == "list b" for what, _ in found)
    before = {each["what"] for each in answer("--db", incident, "--blame", "#ops", "--at", at(1))}
    assert "list b" in before


def test_verify(incident: Path) -> None:
    """Two replays agree, and a log out of order is found."""
    assert answer("--db", incident, "--verify")["verified"] is True
    with sqlite3.connect(incident) as connection:
        connection.execute("UPDATE events SET sequence = 1 WHERE id = 5")
    assert run("--db", incident, "--verify").exit_code == 7


def test_errors_have_their_status(incident: Path, tmp_path: Path) -> None:
    """Scripts can tell them apart; stdout stays empty, stderr says what is wrong."""
    (tmp_path / "text.db").write_text("no database at all, but long enough to look like one " * 30)
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE x (y)")
    newer = tmp_path / "newer.db"
    newer.write_bytes(incident.read_bytes())
    with sqlite3.connect(newer) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(incident.read_bytes())
    with sqlite3.connect(damaged) as connection:
        connection.execute("UPDATE events SET payload = '{' WHERE event_type = 'channel.topic_change'")
    for status, word, arguments in (
        (2, "is no time", ["--db", incident, "--at", "yesterday"]),
        (2, "lies after", ["--db", incident, "--diff", at(9), at(1)]),
        (2, "--human goes with", ["--db", incident, "--human"]),
        (3, "no such file", ["--db", tmp_path / "none.db"]),
        (3, "cannot be read", ["--db", tmp_path / "text.db"]),
        (3, "cannot be read", ["--db", "nosuch://x"]),
        (4, "not a log", ["--db", tmp_path / "other.db"]),
        (4, "use the newer version", ["--db", newer]),
        (5, "event 8 is damaged", ["--db", damaged]),
        (6, "the log begins at", ["--db", incident, "--at", "2020-01-01"]),
    ):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (status, ""), (arguments, result.output)
        assert word in result.stderr
    result = run("--db", damaged, "--skip-damaged")
    assert result.exit_code == 0
    assert "2 damaged events were skipped: 8, " in result.stderr
    assert json.loads(result.stdout)["channels"]


def test_without_write_permission(incident: Path) -> None:
    """A log, with what only its WAL has, is read where nothing may be written."""
    writer = sqlite3.connect(incident, isolation_level=None)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("UPDATE events SET payload = replace(payload, 'ours now', 'in the wal')")
    folder = incident.parent
    before = sorted(os.listdir(folder))
    folder.chmod(0o500)
    incident.chmod(0o400)
    try:
        if os.access(folder, os.W_OK):  # root may write everywhere: look at the copy that others would need
            import slircd.events.reader as module

            real, module.os.access = os.access, lambda *_: False
            try:
                text = run("--db", incident).stdout
            finally:
                module.os.access = real
        else:
            text = run("--db", incident).stdout
    finally:
        folder.chmod(0o700)
        incident.chmod(0o600)
        writer.close()
    assert "in the wal" in text
    assert sorted(os.listdir(folder))[: len(before)]


def test_beside_a_running_server(tmp_path: Path) -> None:
    """Reading takes no lock that the writer would meet."""
    store = SQLStore(f"sqlite:///{tmp_path / 'slircd.db'}", call_in_reactor=lambda *_: None, seconds=float)
    store.open()
    world = World()
    world.client("ann")
    store.append(world.store.rows[:2])
    store.close()
    store = SQLStore(f"sqlite:///{tmp_path / 'slircd.db'}", call_in_reactor=lambda *_: None, seconds=float)
    store.open()
    with LogReader(str(tmp_path / "slircd.db")) as reader:
        assert len(list(reader.rows())) == 2
        store.append(world.store.rows[2:])
        store.close()
        assert len(list(reader.rows())) == len(world.store.rows)


@pytest.mark.parametrize("seed", range(3))
def test_slices_and_snapshots_give_the_same(seed: int, tmp_path: Path) -> None:
    """Replayed in one go, in slices, twice, or from a snapshot in the middle: one digest, and the live one."""
    rng = Random(seed)
    world = World()
    for _ in range(300):
        clients = [client for client in world.clients if not client.is_closed]
        if len(clients) < 4:
            newcomer(world, rng)
        else:
            rng.choice(clients).sends(random_line(rng))
    save(world, tmp_path / "log.db")
    with LogReader(str(tmp_path / "log.db")) as reader:
        rows = list(reader.rows())
        whole, sliced = Replayed(), Replayed()
        replay(rows, whole)
        cut = rng.randrange(len(rows))
        replay(rows[:cut], sliced)
        middle = decode_snapshot(encode_snapshot(sliced.state))
        replay(rows[:cut], sliced)
        replay(rows[cut // 2 :], sliced)
        continued = Replayed()
        continued.state = middle
        replay(rows[cut:], continued)
        assert digest(whole.state) == digest(sliced.state) == digest(continued.state) == digest(world.state)
        reconstructor = StateReconstructor(reader)
        end = reconstructor.state_at(rows[-1].timestamp)
        assert digest(end) == digest(world.state)
        assert reconstructor.last_id == rows[-1].id
        assert to_document(end, "x", 1) == to_document(world.state, "x", 1)


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("2025-01-01", "2025-01-01T00:00:00.000000Z"),
        ("2025-01-01T12:00:00Z", "2025-01-01T12:00:00.000000Z"),
        ("2025-01-01T12:00:00+02:00", "2025-01-01T10:00:00.000000Z"),
        ("2025-01-01 12:00:00.5", "2025-01-01T12:00:00.500000Z"),
        ("-15m", "2025-06-15T14:51:40.000000Z"),
        ("-2w", "2025-06-01T15:06:40.000000Z"),
    ],
)
def test_moments(text: str, stamp: str) -> None:
    """Dates, ISO 8601 with offsets, and times ago."""
    assert parse_moment(text, START) == stamp


def test_commands_of_the_documentation(incident: Path) -> None:
    """Every slircd-replay command in docs/time-travel.md runs on a real log, and the incident reads as shown."""
    import re
    import shlex

    page = (Path(__file__).parents[2] / "docs" / "time-travel.md").read_text()
    commands = [line for line in page.splitlines() if line.startswith("slircd-replay") and "--follow" not in line]
    assert len(commands) > 8
    for line in commands:
        words = shlex.split(line, comments=True)[1:]
        words = words[: words.index("|")] if "|" in words else words
        words = [str(incident) if word == "slircd.db" else word for word in words]
        # The documentation's dates are those of its example; those of the log here are the same day.
        result = run(*(re.sub(r"^2025-01-01T12:00:00Z$", at(1), word) for word in words))
        assert result.exit_code == 0, (line, result.stderr)
    shown = re.search(r"```\n(2025-06-15 .*?)```", page, re.DOTALL)
    assert shown is not None
    text = run("--db", incident, "--diff", at(100), at(200), "--human", "--channel", "#ops").stdout
    assert text == shown[1]
