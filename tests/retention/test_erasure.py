"""Erasure: who is meant, what becomes of each text, and that rewritten events make the rewritten state."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from slircd.events.codec import decode_event, encode_payload
from slircd.events.row import Row
from slircd.retention.erasure import Erasure, Plan, Request, Search
from slircd.retention.rewrite import Rewriter, rewrite_event, rewrite_state
from slircd.state.feed import feed
from slircd.state.model import ServerState
from slircd.state.snapshot import digest, from_snapshot, to_snapshot
from tests.harness import World
from tests.test_audit import newcomer, random_line


def decoded(row: Row):  # type: ignore[no-untyped-def]
    return decode_event(row.event_type, row.actor_uid, row.target, row.payload)


def rewritten(rows: list[Row], rewriter: Rewriter) -> list[Row]:
    """The rows with their events rewritten."""
    made: list[Row] = []
    for row in rows:
        event = rewrite_event(decoded(row), rewriter)
        made.append(row._replace(actor_uid=event.actor_uid, target=event.target, payload=encode_payload(event)))
    return made


def replayed(rows: list[Row]) -> ServerState:
    state = ServerState()
    feed(state, rows)
    return state


def plan_for(rows: list[Row], request: Request, *, start: ServerState | None = None) -> Plan:
    search = Search(request, start or ServerState(), replayed(rows).fold)
    for row in rows:
        search.see(decoded(row))
    return search.plan(replayed(rows) if start is None else start)


def image(state: ServerState, rewriter: Rewriter) -> str:
    """The digest of a state when it is rewritten."""
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(to_snapshot(state)), type=type(to_snapshot(state)))
    return digest(from_snapshot(rewrite_state(copy, rewriter)))


def random_log(seed: int, lines: int) -> World:
    rng = Random(seed)
    world = World()
    for _ in range(lines):
        clients = [client for client in world.clients if not client.is_closed]
        if len(clients) < 5:
            newcomer(world, rng)
        else:
            rng.choice(clients).sends(random_line(rng))
        if rng.random() < 0.05:
            world.clock.advance(30)
    return world


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("request_", [Request(account="ann"), Request(nick="bob"), Request(host="192.0.2.3")])
def test_rewritten_events_make_the_rewritten_state(seed: int, request_: Request) -> None:
    """At every moment: what replay makes of rewritten rows is what rewriting makes of the replayed state."""
    rows = random_log(seed, 250).store.rows
    rewriter = Erasure(plan_for(rows, request_))
    new = rewritten(rows, rewriter)
    before, after = ServerState(), ServerState()
    for index, (old_row, new_row) in enumerate(zip(rows, new, strict=True)):
        feed(before, [old_row])
        feed(after, [new_row])
        if index % 7 == 0 or index == len(rows) - 1:
            assert image(before, rewriter) == digest(after), old_row
    assert rewritten(new, rewriter) == new, "a second time changes nothing"


def story(world: World | None = None) -> World:
    """Zaphod, with an account, is where the others are, and everywhere else."""
    world = world or World()
    ford = world.oper("ford", address="198.51.100.7")
    ford.sends("JOIN #deep")
    first = world.connect("192.0.2.42")
    first.sends("NICK Zaphod", "USER beeble 0 * :Zaphod Beeblebrox")
    first.lines()
    first.sends("NS REGISTER heartofgold", "NICK Zarniwoop", "JOIN #deep", "AWAY :at Milliways", "NICK Zaphod")
    ford.sends("MODE #deep +o Zaphod")
    first.sends("TOPIC #deep :two heads are better", "JOIN #own", "CS REGISTER #own", "SETNAME :Two Heads")
    ford.sends(
        "TOPIC #deep :zaphod's topic was better, Zaphod", "MODE #deep +b zaphod!*@*", "MODE #deep +b *!*@192.0.2.42"
    )
    ford.sends("KLINE 60 *@192.0.2.42 :Zaphod again|he is zaphod", "MODE #deep -b zaphod!*@*")
    ford.sends("KICK #deep Zaphod :out, Zaphod", "CHGHOST Zaphod improbability.example")
    first.sends("QUIT :so long, says Zaphod")
    again = world.connect("192.0.2.42")
    again.sends("NICK zaphod_", "USER beeble 0 * :Zaphod Beeblebrox")
    again.sends("NS IDENTIFY zaphod heartofgold", "JOIN #own", "TOPIC #own :mine", "QUIT")
    return world


WORDS = ("zaphod", "beeble", "zarniwoop", "192.0.2.42", "milliways", "two heads", "so long", "improbability", 'mine"')


def test_no_trace_is_left() -> None:
    """No name, address or text of the person is in any row afterwards; what others said of it keeps its sense."""
    rows = story().store.rows
    text = "\n".join(map(str, rows)).lower()
    assert all(word in text for word in WORDS)
    plan = plan_for(rows, Request(account="Zaphod"))
    new = rewritten(rows, Erasure(plan))
    text = "\n".join(map(str, new)).lower()
    assert [word for word in WORDS if word in text] == []
    zaphod = plan.names["zaphod"]
    assert any(f"{zaphod}'s topic was better, {zaphod}" in row.payload for row in new)
    assert any(f"{zaphod}!*@*" in row.payload for row in new)
    assert "ford" in text
    assert replayed(new).channels["#own"].registration is not None
    assert zaphod in replayed(new).accounts


def test_a_nick_of_others() -> None:
    """A nick that somebody else has now, too, is that one's; the person loses it only where it was the person's."""
    world = World()
    first = world.client("guest", address="192.0.2.42")
    first.sends("NS REGISTER heartofgold", "NS GROUP")
    first.sends("NICK visitor", "JOIN #a", "QUIT")
    other = world.client("visitor", address="192.0.2.43")
    other.sends("JOIN #b", "TOPIC #b :visitor was here")
    rows = world.store.rows
    plan = plan_for(rows, Request(account="guest"))
    assert set(plan.names) == {"guest"}
    assert set(plan.own) == {"visitor"}
    new = rewritten(rows, Erasure(plan))
    state = replayed(new)
    assert state.users[other.uid].nick == "visitor"
    assert state.channels["#b"].topic is not None
    assert state.channels["#b"].topic.text == "visitor was here"
    joins = [decoded(row) for row in new if row.event_type == "channel.join"]
    assert [join.nick for join in joins] == [plan.own["visitor"], "visitor"]


def test_numbers_go_on() -> None:
    """The placeholders of a second erasure are others than those of the first."""
    rows = story().store.rows
    new = rewritten(rows, Erasure(plan_for(rows, Request(account="Zaphod"))))
    first, second = plan_for(rows, Request(account="Zaphod")), plan_for(new, Request(nick="ford"))
    assert not {*first.names.values(), *first.hosts.values()} & {*second.names.values(), *second.hosts.values()}


def test_words_only() -> None:
    """A name is replaced where it stands alone, in every spelling of the casemapping, and nowhere inside of words."""
    plan = Plan(
        uids=[],
        names={"ann{": "erased-1"},
        own={},
        hosts={"192.0.2.1": "erased-2"},
        sources=[],
        realnames=[],
        usernames=[],
        fingerprints={},
        topics=[],
        casemapping="rfc1459",
    )
    from slircd.retention.fields import Kind

    def after(text: str) -> str:
        return Erasure(plan).text(Kind.TEXT, text, False)

    assert after("Ann[: hello, ANN{. joann{ and ann{a stay") == "erased-1: hello, erased-1. joann{ and ann{a stay"
    assert after("*!*@192.0.2.1 is not 192.0.2.10, nor 1192.0.2.1, nor 192.0.2.1.example") == (
        "*!*@erased-2 is not 192.0.2.10, nor 1192.0.2.1, nor 192.0.2.1.example"
    )
