"""The one moment of an erasure that is the server's: live state and log change together, whatever happens beside it."""

from __future__ import annotations

from collections.abc import Coroutine
from random import Random
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import ensureDeferred

from slircd.events.codec import encode_payload
from slircd.events.types import PluginStore
from slircd.retention.erasure import Erasure, Plan, Request, Search
from slircd.retention.keeper import CannotErase, Finish, Keeper
from slircd.retention.redact import ABOUT_PEOPLE
from slircd.retention.rewrite import rewrite_event
from slircd.retention.service import forget
from slircd.state.livedigest import LiveDigest
from slircd.state.model import ServerState
from slircd.state.snapshot import digest
from tests.harness import World
from tests.retention.test_erasure import decoded, random_log, rewritten
from tests.test_audit import newcomer, random_line

T = TypeVar("T")


def now(work: Coroutine[Any, Any, T]) -> T:
    """The result of work that waits for nothing."""
    found: list[T] = []
    failed: list[Any] = []
    ensureDeferred(work).addCallbacks(found.append, failed.append)
    if failed:
        failed[0].raiseException()
    assert found, "it waits for something"
    return found[0]


def go_on(world: World, rng: Random, lines: int) -> None:
    """More commands of whoever is there."""
    for _ in range(lines):
        clients = [client for client in world.clients if not client.is_closed]
        if len(clients) < 5:
            newcomer(world, rng)
        else:
            rng.choice(clients).sends(random_line(rng))


def planned(world: World, request: Request, until: int) -> tuple[Plan, list[tuple[int, str, str | None, str | None]]]:
    """What an erasure finds out beside the server."""
    search = Search(request, ServerState(), world.state.fold)
    rows = [row for row in world.store.rows if row.id <= until]
    for row in rows:
        search.see(decoded(row))
    plan = search.plan(world.state)
    plan.until = until
    erasure = Erasure(plan)
    rewrites: list[tuple[int, str, str | None, str | None]] = []
    for row in rows:
        before = decoded(row)
        event = rewrite_event(before, erasure)
        if event is not before and (row.event_type not in ABOUT_PEOPLE or row.target in world.state.users):
            rewrites.append((row.id, encode_payload(event), event.actor_uid, event.target))
    return plan, rewrites


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("request_", [Request(account="ann"), Request(host="192.0.2.3")])
def test_live_is_replayed_behind_an_erasure(seed: int, request_: Request) -> None:
    """Commands before, between and behind: the served state is the log, and its kept digest is right."""
    world = random_log(seed, 250)
    rng = Random(seed + 100)
    server = world.server
    server.bus.live_digest = LiveDigest(world.state)
    keeper = Keeper(server.bus, forget_account=server.accounts.forget, erased=lambda erasure: forget(server, erasure))
    until = now(keeper.begin(request_, "admin:trillian"))
    assert digest(world.state) == digest(world.replayed())
    go_on(world, rng, 40)
    plan, rewrites = planned(world, request_, until)
    go_on(world, rng, 40)
    finish = Finish(
        run=1, plan=plan, actor="admin:trillian", what=request_.kind, rewrites=rewrites, base=None, events=len(rewrites)
    )
    now(keeper.finish(finish))
    assert digest(world.state) == digest(world.replayed()), "what people did before is not rewritten yet"
    go_on(world, rng, 40)
    old = [row for row in world.store.rows if row.id <= until]
    world.store.rows = [*rewritten(old, Erasure(plan)), *world.store.rows[len(old) :]]
    assert digest(world.state) == digest(world.replayed())
    assert server.bus.live_digest.is_right()
    names = [uid for uid in plan.uids if uid in world.state.users]
    assert names == []


def test_a_ban_is_taken_off_under_its_new_name() -> None:
    """A mask that named somebody names the placeholder at once: on the list, in the log, for its expiry."""
    world = World()
    oper = world.oper("ford")
    victim = world.client("zaphod", address="192.0.2.42")
    victim.sends("NS REGISTER heartofgold")
    oper.sends("JOIN #c", "MODE #c +b zaphod!*@*", "KLINE 1 *@192.0.2.42 :zaphod")
    keeper = Keeper(world.server.bus, erased=lambda erasure: forget(world.server, erasure))
    request = Request(account="zaphod")
    until = now(keeper.begin(request, "server"))
    world.clock.advance(5)
    assert victim.is_closed
    oper.sends("TOPIC #c :where is zaphod")
    plan, rewrites = planned(world, request, until)
    now(keeper.finish(Finish(run=1, plan=plan, actor="server", what="account", rewrites=rewrites, base=None, events=0)))
    name = plan.names["zaphod"]
    assert [line.split()[4] for line in oper.asks("MODE #c b") if " 367 " in line] == [f"{name}!*@*"]
    assert any(f"where is {name}" in line for line in oper.asks("TOPIC #c"))
    oper.sends(f"MODE #c -b {name}!*@*")
    assert world.state.channels["#c"].entries("b") == {}
    assert oper.codes("WHOWAS zaphod")[0] == "406"
    world.clock.advance(61)
    assert world.state.bans == {}, "the line that was rewritten expires"
    assert digest(world.state) == digest(world.replayed())


def test_what_is_refused() -> None:
    """A finish without its begin, and a nick that is an account's."""
    world = World()
    world.client("ann").sends("NS REGISTER password1")
    keeper = Keeper(world.server.bus)
    with pytest.raises(CannotErase, match="erase the account ann"):
        now(keeper.begin(Request(nick="ann"), "server"))
    plan, _ = planned(world, Request(account="ann"), 1)
    with pytest.raises(CannotErase, match="ask again"):
        now(keeper.finish(Finish(run=1, plan=plan, actor="server", what="x", rewrites=[], base=None, events=0)))


def test_what_plugins_keep_of_somebody_goes() -> None:
    """Keys and values of plugins that name the erased, in the served state and in the log; others' stay."""
    world = World()
    victim = world.client("zaphod", address="192.0.2.42")
    victim.sends("NS REGISTER heartofgold")
    kept = {"zaphod": '{"where":"#bar","host":"192.0.2.42"}', "trillian": '{"where":"#lab"}', "last": '"Zaphod"'}
    world.server.bus.emit([PluginStore(actor_uid="plugin:seen", target="seen", values=kept, removed=[])])
    keeper = Keeper(world.server.bus, erased=lambda erasure: forget(world.server, erasure))
    request = Request(account="zaphod")
    until = now(keeper.begin(request, "server"))
    plan, rewrites = planned(world, request, until)
    now(keeper.finish(Finish(run=1, plan=plan, actor="server", what="account", rewrites=rewrites, base=None, events=0)))
    storage = world.state.storage["seen"]
    assert storage["trillian"] == kept["trillian"]
    assert len(storage) == 3
    for text in (*storage, *storage.values()):
        assert "zaphod" not in text.lower()
        assert "192.0.2.42" not in text
    old = [row for row in world.store.rows if row.id <= until]
    world.store.rows = [*rewritten(old, Erasure(plan)), *world.store.rows[len(old) :]]
    assert digest(world.state) == digest(world.replayed())
    assert not [row for row in world.store.rows if row.event_type == "plugin.store" and "aphod" in row.payload]
