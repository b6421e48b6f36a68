"""Blame: for each thing that is set, really the event that set it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from sqlalchemy import create_engine

from slircd.events.checkpoints import BASE, pack, write
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.replay.blame import BEFORE, Blamed, blame_channel
from slircd.replay.reconstructor import Replayed, replay
from tests.harness import World, make_config
from tests.replay.test_replay import save
from tests.test_audit import newcomer, random_line


def blamed(world: World, tmp_path: Path, channel: str = "#a", at: str | None = None) -> dict[tuple[str, str], Blamed]:
    path = tmp_path / "log.db"
    path.unlink(missing_ok=True)
    save(world, path)
    with LogReader(str(path)) as reader:
        return {(each.what, each.value): each for each in blame_channel(reader, channel, at)}


def row_of(world: World, found: Blamed) -> Row:
    return next(row for row in world.store.rows if row.id == found.event_id)


def test_modes_parameters_prefixes(tmp_path: Path) -> None:
    """The last event that set it counts; who made the channel has +o from joining; a new nick is shown."""
    world = World()
    ann, bob = world.client("ann"), world.client("bob")
    ann.sends("JOIN #a", "MODE #a +ml 5", "MODE #a -m")
    bob.sends("JOIN #a")
    ann.sends("MODE #a +v bob", "MODE #a +o bob")
    bob.sends("MODE #a +ml 6", "MODE #a +b x!*@*", "NICK rob", "MODE #a +k secret")
    found = blamed(world, tmp_path)
    assert {key: each.by for key, each in found.items()} == {
        ("mode +m", ""): "bob",
        ("mode +n", ""): "ann",
        ("mode +t", ""): "ann",
        ("mode +l", "6"): "bob",
        ("mode +k", "*"): "rob",
        ("mode +o", "ann"): "ann",
        ("mode +o", "rob"): "ann",
        ("mode +v", "rob"): "ann",
        ("list b", "x!*@*"): "bob",
    }
    assert row_of(world, found["mode +o", "ann"]).event_type == "channel.join"
    assert "+" in row_of(world, found["mode +v", "rob"]).payload


def test_what_ended_silently(tmp_path: Path) -> None:
    """A member who lost the connection, a ban that expired and a channel that was made anew leave nothing behind."""
    world = World()
    ann, bob = world.client("ann"), world.client("bob")
    ann.sends("JOIN #a", "MODE #a +s", "TOPIC #a :old")
    bob.sends("JOIN #a")
    ann.sends("MODE #a +o bob", "CS REGISTER #a")
    ann.disconnects()
    assert ("mode +o", "ann") not in blamed(world, tmp_path)
    bob.sends("PART #a", "JOIN #a", "MODE #a +i")
    found = blamed(world, tmp_path)
    assert ("topic", "old") not in found
    assert ("mode +s", "") not in found
    assert found["mode +i", ""].by == "bob"


def test_across_restarts_and_crashes(tmp_path: Path) -> None:
    """A crash ends a channel without an event of its own; a registered one keeps what it had, and who set it."""
    world = World()
    ann = world.client("ann")
    ann.sends("JOIN #a", "MODE #a +s", "TOPIC #a :old", "NS REGISTER password")
    ann.sends("JOIN #reg", "CS REGISTER #reg", "TOPIC #reg :kept", "MODE #reg +m", "CS FLAGS #reg ann +V")
    world = world.restart(crash=True)
    bob = world.client("bob")
    bob.sends("JOIN #a")
    found = blamed(world, tmp_path)
    assert {key: each.by for key, each in found.items()} == {
        ("mode +n", ""): "bob",
        ("mode +t", ""): "bob",
        ("mode +o", "bob"): "bob",
    }
    kept = blamed(world, tmp_path, "#reg")
    assert kept["topic", "kept"].by == "ann"
    assert kept["mode +m", ""].by == "ann"
    assert row_of(world, kept["founder", "ann"]).event_type == "services.chan_register"
    assert not any(what == "mode +o" for what, _ in kept)


def test_services(tmp_path: Path) -> None:
    """Founder, access, settings, and what a restoration gave back, name their events; a lock's key is masked."""
    world = World()
    ann, bob = world.client("ann"), world.client("bob")
    for client in (ann, bob):
        client.sends(f"NS REGISTER password-{client.nick}")
    ann.sends("JOIN #a", "CS REGISTER #a", "CS FLAGS #a bob AOP", "TOPIC #a :good")
    bob.sends("JOIN #a")
    ann.sends("CS SET #a MLOCK +k secret")
    world.clock.advance(100)
    bob.sends("TOPIC #a :bad")
    ann.sends("CS RESTORE #a -50s", "CS RESTORE #a -50s CONFIRM")
    found = blamed(world, tmp_path)
    assert found["topic", "good"].by == "ann"
    assert found["topic", "good"].timestamp.startswith("2025-06-15T15:08")  # type: ignore[union-attr]
    assert found["setting", "mlock +k *"].by == "ann"
    assert row_of(world, next(each for (what, _), each in found.items() if what == "access")).target == "#a"
    assert any(what == "mode +o" and value == "bob" for what, value in found)


def test_under_another_name(tmp_path: Path) -> None:
    """What was set before a channel was renamed is found under the name that it had."""
    world = World(config=make_config())
    ann = world.client("ann", caps="draft/channel-rename")
    ann.sends("JOIN #old", "TOPIC #old :t", "RENAME #old #a :better", "MODE #a +m")
    found = blamed(world, tmp_path)
    assert row_of(world, found["topic", "t"]).target == "#old"
    assert row_of(world, found["mode +m", ""]).target == "#a"
    assert ("mode +n", "") in found


@pytest.mark.parametrize("seed", range(3))
def test_complete_and_true(seed: int, tmp_path: Path) -> None:
    """After random commands all that is set is blamed, each thing on an event after which it is first set."""
    rng = Random(seed)
    world = World()
    for _ in range(500):
        clients = [client for client in world.clients if not client.is_closed]
        if len(clients) < 5:
            newcomer(world, rng)
        else:
            rng.choice(clients).sends(random_line(rng))
    save(world, tmp_path / "log.db")
    with LogReader(str(tmp_path / "log.db")) as reader:
        for key, channel in world.state.channels.items():
            found = blame_channel(reader, key)
            assert all(each.event_id is not None for each in found)
            flags = {each.what.removeprefix("mode +") for each in found if each.what.startswith("mode +")}
            assert flags >= channel.flags | set(channel.params)
            assert sum(each.what.startswith("list") for each in found) == sum(map(len, channel.lists.values()))
            for each in found:
                if each.what != "topic" and not each.what.startswith("list"):
                    continue
                before, after = Replayed(), Replayed()
                replay([row for row in world.store.rows if row.id < (each.event_id or 0)], before)
                replay([row for row in world.store.rows if row.id <= (each.event_id or 0)], after)
                # Under the name that the channel had then.
                name = row_of(world, each).target or ""
                then, now = before.state.channels.get(name), after.state.channels[name]
                if each.what == "topic":
                    assert now.topic is not None
                    assert now.topic.text == each.value
                else:
                    mode, mask = each.what[-1], world.state.fold(each.value)
                    assert mask in now.entries(mode)
                    assert then is None or then.entries(mode).get(mask) != now.entries(mode)[mask]


def test_behind_the_horizon(tmp_path: Path) -> None:
    """What was set before retention's horizon has no event; the state still knows who set topic and masks."""
    world = World()
    ann = world.client("ann")
    ann.sends("JOIN #a", "TOPIC #a :t", "MODE #a +mb x!*@*")
    horizon = world.store.rows[-1].id
    ann.sends("MODE #a +i")
    path = tmp_path / "log.db"
    save(world, path)
    into = Replayed()
    replay([row for row in world.store.rows if row.id <= horizon], into)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        write(connection, pack(into.state, horizon, kind=BASE))
        connection.exec_driver_sql(f"DELETE FROM events WHERE id <= {horizon}")
    engine.dispose()
    with LogReader(str(path)) as reader:
        found = {(each.what, each.value): each for each in blame_channel(reader, "#a")}
    assert found["mode +m", ""].by == BEFORE
    assert found["mode +m", ""].event_id is None
    assert found["topic", "t"].by.startswith("ann!")
    assert found["list b", "x!*@*"].timestamp == world.store.rows[horizon - 1].timestamp
    assert found["mode +i", ""].by == "ann"
