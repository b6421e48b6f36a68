"""Time travel: the command, the reconstruction, the differences, the blame."""

from __future__ import annotations

import gc
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

from slircd.admin.story import tell_story
from slircd.events.checkpoints import BASE, pack, write
from slircd.events.clock import format_timestamp, parse_moment
from slircd.events.reader import LogReader
from slircd.events.store import SQLStore
from slircd.events.types import PluginStore
from slircd.replay.cli import main
from slircd.replay.document import to_document
from slircd.replay.progress import bar
from slircd.replay.reconstructor import BeforeTheLog, Replayed, StateReconstructor, replay
from slircd.replay.worker import Replay, writing_engine
from slircd.replay.worker import run as work
from slircd.state.snapshot import decode_snapshot, digest, encode_snapshot
from tests.harness import START, World, make_config
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
    only = answer("--db", incident, "--channel", "#OPS")
    assert [each["name"] for each in only["channels"]] == ["#Ops"]
    assert only["users"] == []
    only = answer("--db", incident, "--user", "ANN")
    assert [each["nick"] for each in only["users"]] == ["ann"]
    assert only["channels"] == []
    nobody = run("--db", incident, "--user", "nobody")
    assert (nobody.exit_code, json.loads(nobody.stdout)["users"]) == (0, [])
    assert "there was no user nobody" in nobody.stderr


def test_cycle_collector_rests(incident: Path) -> None:
    """While a moment is made nothing is looked for that is not there, and then the collector is as it was."""
    rested: list[bool] = []

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        rested.append(not gc.isenabled())
        yield
        rested.append(not gc.isenabled())

    with LogReader(str(incident)) as reader:
        assert json.loads(StateReconstructor(reader, phase=phase).encoded_at(at(1)))["users"]
        assert rested == [True] * 6
        assert gc.isenabled()
        with pytest.raises(BeforeTheLog):
            StateReconstructor(reader).encoded_at("2000-01-01T00:00:00.000000Z")
        assert gc.isenabled()


def test_names_fold_as_in_the_log(tmp_path: Path) -> None:
    """Which names count as the same is the log's casemapping, not this program's."""
    world = World(config=make_config({"server": {"casemapping": "rfc1459"}}))
    world.client("ann[x]").sends("JOIN #{a}", "TOPIC #{a} :t")
    save(world, tmp_path / "log.db")
    db = ["--db", tmp_path / "log.db"]
    assert answer(*db, "--channel", "#[A]")["channels"][0]["name"] == "#{a}"
    assert answer(*db, "--user", "ANN{X}")["users"][0]["nick"] == "ann[x]"
    assert {each["what"] for each in answer(*db, "--blame", "#[A]")} >= {"topic", "mode +o"}
    lines = run(*db, "--diff", at(0), at(9), "--human", "--channel", "#[A]").stdout
    assert "topic: t on #{a}" in lines


def test_documents_follow_the_schema(tmp_path: Path) -> None:
    """Whatever is printed, of whatever log, is valid by the schema that --schema prints and docs/ publishes."""
    world = World()
    rng = Random(4)
    for _ in range(600):
        clients = [client for client in world.clients if not client.is_closed]
        if len(clients) < 5:
            newcomer(world, rng)
        else:
            rng.choice(clients).sends(random_line(rng))
    world.clock.advance(60)
    oper = world.oper("root")
    oper.sends("KLINE 1h *@198.51.100.7 spam", "FILTER ADD block word no words", "JOIN #z", "MODE #z +bk a!*@* key")
    kept = PluginStore(actor_uid="plugin:seen", target="seen", values={"root": '"here"'}, removed=[])
    world.server.bus.emit([kept])
    save(world, tmp_path / "log.db")
    db = ["--db", tmp_path / "log.db"]
    schema = answer("--schema")
    published = Path(__file__).parents[2] / "docs" / "slircd-replay.schema.json"
    assert json.loads(published.read_text()) == schema, "run python docs/generate.py"
    jsonschema.Draft202012Validator.check_schema(schema)

    def valid(document: Any, shape: str) -> Any:
        jsonschema.Draft202012Validator({**schema, "$ref": f"#/$defs/{shape}"}).validate(document)
        return document

    whole = valid(answer(*db), "ServerSnapshot")
    for section in ("users", "channels", "accounts", "bans", "filters", "plugins"):
        assert whole[section], section
    assert whole["plugins"] == [{"plugin": "seen", "storage": {"root": '"here"'}}]
    assert {user["nick"]: user["clients"] for user in whole["users"]}["root"] == 1
    valid(answer(*db, "--user", "root"), "ServerSnapshot")
    assert valid(answer(*db, "--diff", at(0), whole["at"]), "StateDiff")["changes"]
    for each in answer(*db, "--blame", "#z"):
        valid(each, "Blamed")
    valid(answer(*db, "--verify"), "Verification")
    with pytest.raises(jsonschema.ValidationError):
        valid({**whole, "users": [{"nick": "x"}]}, "ServerSnapshot")


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
    assert "bob set +m on #ops" in text
    assert "bob unbanned old!*@* on #ops" in text
    only = answer("--db", incident, "--diff", at(70), at(200), "--user", "ann")["changes"]
    assert {each["path"][0] for each in only} == {"users"}
    assert answer("--db", incident, "--diff", at(200), at(200))["changes"] == []


def test_a_renamed_channel(tmp_path: Path) -> None:
    """A channel is one under all its names: in a difference, in what happened, in blame, and for who follows it."""
    world = World()
    ann, eve = world.client("ann"), world.client("eve")
    ann.sends("JOIN #old", "TOPIC #old :t")
    eve.sends("JOIN #later", "TOPIC #later :not its", "PART #later")
    world.clock.advance(60)
    ann.sends("MODE #old +m", "RENAME #old #Later :better", "TOPIC #later :u")
    eve.sends("JOIN #old", "TOPIC #old :another channel")
    world.clock.advance(60)
    save(world, tmp_path / "log.db")
    moments = ("--db", tmp_path / "log.db", "--diff", at(20), at(120))
    for narrowed in ((), ("--channel", "#later")):
        changes = answer(*moments, *narrowed)["changes"]
        mine = [change for change in changes if change["path"][:2] == ["channels", "#Later"]]
        assert {(change["kind"], change["path"][2]) for change in mine} == {
            ("changed", "name"),
            ("added", "former_names"),
            ("changed", "modes"),
            ("changed", "topic"),
        }
        assert any(change["path"] == ["channels", "#old"] for change in changes) == (not narrowed)
    told = run(*moments, "--human", "--channel", "#LATER").stdout.splitlines()
    assert [line.split(" ", 2)[2] for line in told] == [
        "ann set +m on #old",
        "ann renamed the channel to #Later: better on #old",
        "ann topic: u on #later",
    ]
    blame = {item["what"]: item["event_id"] for item in answer("--db", tmp_path / "log.db", "--blame", "#later")}
    rows = {row.id: row for row in world.store.rows}
    assert [rows[blame[what]].target for what in ("topic", "mode +m")] == ["#later", "#old"]
    command = Path(sys.executable).with_name("slircd-replay")
    words = [command, "--db", tmp_path / "log.db", "--follow", "--at", at(20), "--channel", "#old"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        seen = [json.loads(follower.stdout.readline()) for _ in range(3)]
        follower.kill()
    assert [(event["event_type"], event["target"]) for event in seen] == [
        ("channel.mode_change", "#old"),
        ("channel.rename", "#old"),
        ("channel.topic_change", "#later"),
    ]
    with LogReader(str(tmp_path / "log.db")) as reader:
        story = tell_story(reader, "channel", "#later", before=reader.head().id + 1, limit=50).rows
    assert [(row.event_type, row.target) for row in reversed(story)] == [
        ("channel.create", "#old"),
        ("channel.join", "#old"),
        ("channel.topic_change", "#old"),
        ("channel.mode_change", "#old"),
        ("channel.rename", "#old"),
        ("channel.topic_change", "#later"),
    ]


def test_verify(incident: Path) -> None:
    """Two replays agree, and a log out of order is found."""
    found = answer("--db", incident, "--verify")
    assert found["verified"] is True
    assert found["events"] == found["last_id"]
    with sqlite3.connect(incident) as connection:
        connection.execute("UPDATE events SET sequence = 1 WHERE id = 5")
    result = run("--db", incident, "--verify")
    assert result.exit_code == 7
    assert "event 5 is out of order" in result.stderr


def test_verify_looks_at_checkpoints(incident: Path) -> None:
    """Good ones are named so; stale ones are no fault; damaged and wrong ones are, and say which."""
    url = f"sqlite:///{incident}"
    for until_id in (6, 9, 12):
        work(Replay(url=url, until_id=until_id, keep=9))
    checked = answer("--db", incident, "--verify")["checkpoints"]
    assert [(each["event_id"], each["verdict"]) for each in checked] == [(6, "good"), (9, "good"), (12, "good")]

    def with_change(change: str) -> tuple[int, list[str], str]:
        with sqlite3.connect(incident) as connection:
            kept = connection.execute("SELECT * FROM checkpoints WHERE event_id = 9").fetchone()
            connection.execute(f"UPDATE checkpoints SET {change} WHERE event_id = 9")
        result = run("--db", incident, "--verify")
        with sqlite3.connect(incident) as connection:
            connection.execute("DELETE FROM checkpoints WHERE event_id = 9")
            connection.execute(f"INSERT INTO checkpoints VALUES ({', '.join('?' * len(kept))})", kept)
        document = json.loads(result.stdout)
        return result.exit_code, [each["verdict"] for each in document["checkpoints"]], result.stderr

    assert with_change("version = 0") == (0, ["good", "stale", "good"], "")
    for change, verdict in (("digest = 'x'", "wrong"), ("state = x'00'", "damaged"), ("checksum = 'x'", "damaged")):
        status, verdicts, said = with_change(change)
        assert (status, verdicts[1]) == (7, verdict)
        assert "event 9" in said
    other = "state = (SELECT state FROM checkpoints WHERE event_id = 6), checksum = (SELECT checksum FROM checkpoints WHERE event_id = 6)"
    assert with_change(other)[:2] == (7, ["good", "damaged", "good"])


def test_behind_the_horizon(incident: Path) -> None:
    """Where retention has removed the beginning, a time before is named so; the rest is as it was."""
    before = run("--db", incident, "--at", at(100)).stdout
    with LogReader(str(incident)) as reader:
        horizon = reader.head_at(at(1))
        state = StateReconstructor(reader).state_at(at(1))
    writer = writing_engine(str(incident))
    with writer.begin() as connection:
        write(connection, pack(state, horizon.id, kind=BASE))
        connection.exec_driver_sql(f"DELETE FROM events WHERE id <= {horizon.id}")
    writer.dispose()
    for words in (["--at", at(-9)], ["--diff", at(-9), at(100)], ["--blame", "#ops", "--at", at(-9)]):
        result = run("--db", incident, *words)
        assert (result.exit_code, result.stdout) == (6, "")
        assert f"begins at {horizon.timestamp}" in result.stderr
        assert "retention" in result.stderr
    assert run("--db", incident, "--at", at(100)).stdout == before
    found = answer("--db", incident, "--verify")
    assert [(each["kind"], each["verdict"]) for each in found["checkpoints"]] == [("base", "good")]
    with sqlite3.connect(incident) as connection:
        connection.execute("UPDATE checkpoints SET state = x'00'")
    result = run("--db", incident)
    assert result.exit_code == 5
    assert "backup" in result.stderr


def test_profile(incident: Path) -> None:
    """Phases, events by type with counts and times, events a second; on stderr, and stdout is what it was."""
    result = run("--db", incident, "--profile")
    assert result.stdout == run("--db", incident).stdout
    for words in ("load a checkpoint", "replay", "everything", "events replayed, ", "channel.topic_change"):
        assert words in result.stderr
    topics = next(line for line in result.stderr.splitlines() if line.startswith("channel.topic_change"))
    assert topics.split()[1] == "2"


def test_follow(incident: Path) -> None:
    """New events come as lines of JSON, from a time on, of one channel, keys masked; a reader that goes ends it."""
    command = Path(sys.executable).with_name("slircd-replay")
    words = [str(command), "--db", str(incident), "--follow", "--at", at(60), "--channel", "#OPS"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stderr is not None
        first = json.loads(follower.stdout.readline())
        assert first["event_type"] == "channel.mode_change"
        assert [change.get("param") for change in first["payload"]["changes"]] == ["bob", "*"]
        assert json.loads(follower.stdout.readline())["payload"]["topic"] == "ours now"
        for _ in range(3):
            follower.stdout.readline()
        with sqlite3.connect(incident) as connection:
            last = connection.execute("SELECT * FROM events ORDER BY id DESC LIMIT 1").fetchone()
            topic = '{"v":1,"nick":"bob","topic":"newer","set_by":"b!b@b","previous":"ours now"}'
            row = (last[0] + 1, last[1], last[2] + 1, "channel.topic_change", last[4], "#ops", topic, last[7])
            connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        connection.close()
        assert json.loads(follower.stdout.readline())["payload"]["topic"] == "newer"
        follower.terminate()


def test_progress_bar() -> None:
    """How far, how fast, and how long still."""
    assert bar(100, 10.0, 600, 12.0, 1100) == "[============            ] 600 of 1,100 events, 250/s, 2 s left"
    assert bar(5, 1.0, 5, 1.0, 5).startswith("[    ")


def test_errors_have_their_status(incident: Path, tmp_path: Path) -> None:
    """Scripts can tell them apart; stdout stays empty, stderr says what is wrong."""
    (tmp_path / "prose.db").write_text("no database at all, but long enough to look like one " * 30)
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
    for name, change in (
        ("text", "SET target = CAST(x'ff' AS TEXT)"),
        ("order", "SET sequence = 'x'"),
        ("time", "SET timestamp = x'ff'"),
    ):
        (tmp_path / f"{name}.db").write_bytes(incident.read_bytes())
        with sqlite3.connect(tmp_path / f"{name}.db") as connection:
            connection.execute(f"UPDATE events {change} WHERE id = 8")
    for status, word, arguments in (
        (2, "is no time", ["--db", incident, "--at", "yesterday"]),
        (2, "lies after", ["--db", incident, "--diff", at(9), at(1)]),
        (2, "--human goes with", ["--db", incident, "--human"]),
        (2, "do not go together", ["--db", incident, "--verify", "--blame", "#ops"]),
        (2, "do not go together", ["--db", incident, "--channel", "#ops", "--user", "ann"]),
        (3, "no such file", ["--db", incident, "--against", tmp_path / "python"]),
        (3, "no such file", ["--db", tmp_path / "none.db"]),
        (3, "cannot be read", ["--db", tmp_path / "prose.db"]),
        (3, "cannot be read", ["--db", "nosuch://x"]),
        (4, "not a log", ["--db", tmp_path / "other.db"]),
        (4, "use the newer version", ["--db", newer]),
        (5, "event 8 is damaged", ["--db", damaged]),
        (5, "event 8 is damaged", ["--db", damaged, "--blame", "#ops"]),
        (5, "event 8 is damaged", ["--db", damaged, "--verify"]),
        (5, "event 8 is damaged", ["--db", damaged, "--diff", at(0), at(9), "--human"]),
        (3, "event 8 is damaged: its target is not UTF-8", ["--db", tmp_path / "text.db"]),
        (3, "event 8 is damaged: its target is not UTF-8", ["--db", tmp_path / "text.db", "--verify"]),
        (5, "event 8 is damaged", ["--db", tmp_path / "order.db"]),
        (7, "event 8 is out of order", ["--db", tmp_path / "order.db", "--verify"]),
        (7, "event 8 is out of order", ["--db", tmp_path / "time.db", "--verify"]),
        (6, "the log begins at", ["--db", incident, "--at", "2020-01-01"]),
        (6, "the log begins at", ["--db", incident, "--blame", "#ops", "--at", "2020-01-01"]),
        (6, "the log begins at", ["--db", incident, "--diff", "2020-01-01", at(9), "--human"]),
    ):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (status, ""), (arguments, result.output)
        assert word in result.stderr
    result = run("--db", damaged, "--skip-damaged")
    assert result.exit_code == 8
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
        ("now", "2025-06-15T15:06:40.000000Z"),
        ("0900-02-03", "0900-02-03T00:00:00.000000Z"),
        ("-99999w", "0108-12-09T15:06:40.000000Z"),
    ],
)
def test_moments(text: str, stamp: str) -> None:
    """Dates, ISO 8601 with offsets, and times ago."""
    assert parse_moment(text, START) == stamp
