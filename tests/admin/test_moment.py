"""The server at a moment, piece by piece."""

from __future__ import annotations

import sqlite3
from random import Random
from unittest import TestCase
from urllib.parse import quote

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from slircd.admin.moment import FORWARD, KEPT, Moments
from slircd.admin.turns import PIECE, page_in_turns, select_in_turns
from slircd.events.reader import LogReader
from slircd.events.types import ServerRedact
from slircd.network.turns import Turns as ReactorTurns
from slircd.replay.document import channel_view
from slircd.replay.reconstructor import BeforeTheLog, StateReconstructor
from slircd.state.snapshot import digest
from tests.admin.harness import READER, AdminTestCase


class MomentRoutes(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.world.clock.advance(10)
        self.ann, self.bob = self.on_channel("#Ops", "@ann", "bob")
        self.ann.sends("TOPIC #ops :first", "MODE #ops +k secret", "MODE #ops +b *!*@evil.example")
        self.world.clock.advance(10)
        self.early = self.world.store.rows[-1].timestamp
        self.ann.sends("TOPIC #ops :second", "KICK #ops bob :bye")
        self.bob.sends("NICK bert", "JOIN #other")
        self.world.clock.advance(10)

    def test_overview(self) -> None:
        """How much there is now, then, and that there was nothing before the log."""
        now = self.ask("/admin/moment").json
        self.assertEqual(now["counts"], {"channels": 2, "users": 4, "accounts": 0, "bans": 0})
        self.assertIsNone(now["at"])
        then = self.ask(f"/admin/moment?at={self.early}").json
        self.assertEqual(then["counts"]["channels"], 1)
        self.assertEqual(then["position"]["timestamp"], self.early)
        self.assertEqual(self.ask("/admin/moment?at=2020-01-01").status, 404)
        self.assertEqual(self.ask("/admin/moment?at=tomorrow").status, 400)
        self.assertEqual(self.ask("/admin/moment", None).status, 401)

    def test_channels(self) -> None:
        """A page of channels: filtered, in order, now and then; a key is never in it."""
        now = self.ask("/admin/moment/channels?sort=members").json
        self.assertEqual([(each["name"], each["members"]) for each in now["items"]], [("#Ops", 1), ("#other", 1)])
        then = self.ask(f"/admin/moment/channels?at={self.early}&match=FIRST").json
        [ops] = then["items"]
        self.assertEqual((ops["topic"], ops["members"], ops["modes"], ops["bans"]), ("first", 2, "knt", 1))
        self.assertEqual((then["total"], then["matching"]), (1, 1))
        self.assertEqual(self.ask("/admin/moment/channels?offset=1&limit=1").json["items"][0]["name"], "#other")
        self.assertEqual(self.ask("/admin/moment/channels?match=nosuch").json["matching"], 0)
        self.assertNotIn(b"secret", self.ask("/admin/moment/channels").body)

    def test_one_channel(self) -> None:
        """All of one channel, its key masked; 404 where there was none."""
        name = quote("#OPS")
        now = self.ask(f"/admin/moment/channel?name={name}", READER).json
        self.assertEqual((now["topic"]["text"], now["params"]), ("second", {"k": "*"}))
        self.assertEqual([each["nick"] for each in now["members"]], ["ann"])
        then = self.ask(f"/admin/moment/channel?name={name}&at={self.early}", READER).json
        self.assertEqual((then["topic"]["text"], then["params"]), ("first", {"k": "*"}))
        self.assertEqual([each["nick"] for each in then["members"]], ["ann", "bob"])
        missing = self.ask(f"/admin/moment/channel?name={quote('#other')}&at={self.early}")
        self.assertEqual((missing.status, missing.json["title"]), (404, "There is no such channel"))
        self.assertEqual(self.ask("/admin/moment/channel?name=%23nosuch").status, 404)

    def test_users(self) -> None:
        """A page of users, found by any of their names, and one user by UID or nick."""
        now = self.ask("/admin/moment/users").json
        self.assertEqual([each["nick"] for each in now["items"]], ["ann", "bert", "ChanServ", "NickServ"])
        self.assertEqual(self.ask("/admin/moment/users?match=Real+bob").json["items"][0]["nick"], "bert")
        then = self.ask(f"/admin/moment/users?at={self.early}&match=bob").json
        self.assertEqual([each["nick"] for each in then["items"]], ["bob"])
        uid = then["items"][0]["uid"]
        self.assertEqual(self.ask(f"/admin/moment/user?name={uid}").json["nick"], "bert")
        self.assertEqual(self.ask(f"/admin/moment/user?name=bob&at={self.early}").json["channels"], ["#Ops"])
        self.assertEqual(self.ask("/admin/moment/user?name=bob").status, 404)

    def test_bans_and_accounts(self) -> None:
        """Network bans and accounts, with filters."""
        root = self.oper("root")
        root.sends("KLINE *@bad.example :no spam", "KLINE *@worse.example :no spam")
        found = self.ask("/admin/moment/bans?match=worse").json
        self.assertEqual([each["mask"] for each in found["items"]], ["*@worse.example"])
        self.assertEqual((found["total"], found["matching"]), (2, 1))
        self.assertEqual(self.ask(f"/admin/moment/bans?at={self.early}").json["items"], [])
        self.ann.sends("NS REGISTER correct-horse ann@example.org")
        self.assertEqual([each["name"] for each in self.ask("/admin/moment/accounts?match=AN").json["items"]], ["ann"])
        self.assertEqual(self.ask(f"/admin/moment/accounts?at={self.early}").json["total"], 0)

    def test_any_order_of_moments(self) -> None:
        """Whichever moments are looked at before, the state at a moment is that of the log: forward, backward, kept."""
        for number in range(30):
            self.ann.sends(f"TOPIC #ops :{number}", f"MODE #ops +b *!*@{number}.example")
            self.world.clock.advance(1)
        self.past.write()
        moments = Moments()
        times = sorted({row.timestamp for row in self.world.store.rows})
        rng = Random(3)
        with LogReader(str(self.past.path)) as reader:
            for at in [*times[::3], *reversed(times), *rng.sample(times, len(times))]:
                wanted = digest(StateReconstructor(reader).state_at(at))
                self.assertEqual(moments.ask(reader, at, lambda state, _: digest(state)), wanted, at)
            with pytest.raises(BeforeTheLog):
                moments.ask(reader, "2020-01-01T00:00:00.000000Z", lambda state, _: None)
            view = moments.ask(reader, times[-1], lambda state, _: channel_view(state, state.channels["#ops"]))
            self.assertEqual(view.topic.text if view.topic else None, "29")
        self.assertGreater(FORWARD, KEPT)


class Erased(AdminTestCase):
    def test_nobody_is_shown_from_memory(self) -> None:
        """Once the log says that it was rewritten, a moment that was looked at before is read anew."""
        ann = self.client("ann")
        ann.sends("AWAY :at 192.0.2.77")
        self.world.store.commit()
        at = self.world.store.rows[-1].timestamp
        self.world.clock.advance(5)
        path = f"/admin/moment/user?name={ann.uid}&at={at}"
        self.assertEqual(self.ask(path).json["away"], "at 192.0.2.77")
        self.past.write()
        with sqlite3.connect(self.past.path) as database:
            database.execute("UPDATE events SET payload = replace(payload, '192.0.2.77', 'x')")
        database.close()
        redact = ServerRedact(actor_uid="admin:root", target=None, nick="root", what="host", events=1)
        self.world.server.bus.emit([redact])
        self.assertEqual(self.ask(path).json["away"], "at x")


class Turns(TestCase):
    def test_a_page_is_that_of_the_sorted_list(self) -> None:
        """Without sorting everything."""
        rng = Random(5)
        for prefix in ("", "n", "the-same-beginning-for-all-"):
            keys = [f"{prefix}{rng.randrange(10**6)}" for _ in range(PIECE * 3)]
            for offset in (0, 1, PIECE, len(keys) - 3, len(keys) + 5):
                clock = Clock()
                done = ensureDeferred(page_in_turns(ReactorTurns(clock), keys, offset, 50))
                clock.advance(0)
                self.assertEqual(done.result, sorted(keys)[offset : offset + 50])

    def test_long_lists_are_looked_at_in_turns(self) -> None:
        """The reactor gets its turn in between, and the order stays."""
        clock = Clock()
        done = ensureDeferred(
            select_in_turns(ReactorTurns(clock), range(PIECE * 2 + 1), lambda number: number % 1000 == 0)
        )
        self.assertFalse(done.called)
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        clock.advance(0)
        self.assertEqual(done.result, [0, 1000, 2000, 3000, 4000])
