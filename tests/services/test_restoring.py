"""A takeover, and its end: a channel is given back as it was, in one decision, while people talk."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred

from slircd.events.clock import format_timestamp
from slircd.events.types import ChanFlags, ChannelModeChange, ChanRestore
from slircd.rules.restore import Restorer
from slircd.services.restoring import CannotRestore, Restoration, restore_channel
from tests.harness import FakeClient, ServerTestCase

API = Restorer("admin:root", "root", "root", staff=True)


class Takeover(ServerTestCase):
    """#ops has a founder, ann, an operator with access, bob, and people; mallory is to take it over."""

    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob, self.mallory, self.joe = (self.account(nick) for nick in ("ann", "bob", "mallory", "joe"))
        self.ann.sends("JOIN #ops", "CS REGISTER #ops", "CS FLAGS #ops bob AOP", "CS SET #ops MLOCK +nt")
        for client in (self.bob, self.mallory, self.joe):
            client.sends("JOIN #ops")
        self.ann.sends("TOPIC #ops :the rules are simple", "MODE #ops +b *!*@spam.example", "MODE #ops +l 50")
        self.ann.sends("CS OP #ops mallory", "CS FLAGS #ops mallory SOP")
        self.world.clock.advance(600)
        self.before = format_timestamp(self.world.clock.seconds() - 300)

    def account(self, nick: str) -> FakeClient:
        client = self.client(nick)
        client.sends(f"NS REGISTER password-{nick}")
        return client

    @property
    def channel(self) -> Any:
        return self.world.state.channels["#ops"]

    def prefixes(self) -> dict[str, str]:
        users = self.world.state.users
        return {users[uid].nick: modes for uid, modes in self.channel.members.items()}

    def take_over(self) -> None:
        """Mallory has got hold of the founder's password, and does her worst."""
        self.ann.sends("CS SET #ops SUCCESSOR mallory", "CS SET #ops FOUNDER mallory")
        self.mallory.sends("CS FLAGS #ops bob -*", "CS FLAGS #ops ann -*", "CS SET #ops MLOCK", "CS OWNER #ops")
        self.mallory.sends("TOPIC #ops :0wned", "MODE #ops +mik-l sesame", "MODE #ops -b *!*@spam.example")
        self.mallory.sends("MODE #ops +bb ann!*@* bob!*@*", "KICK #ops ann,bob :bye", "MODE #ops +v joe")

    def restore(self, *, do: bool) -> Restoration:
        plan: Deferred[Restoration] = ensureDeferred(
            restore_channel(self.world.server, "#ops", self.before, API, do=do)
        )
        return self.successResultOf(plan)

    def successResultOf(self, deferred: Deferred[Any]) -> Any:
        results: list[Any] = []
        deferred.addBoth(results.append)
        self.assertTrue(results, "the Deferred has no result")
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]

    def test_a_moment_under_another_name(self) -> None:
        """A channel that was renamed meanwhile is given back what it had under the name of that time."""
        self.ann.sends("RENAME #ops #staff", "TOPIC #staff :after", "CS SET #staff SUCCESSOR joe")
        self.joe.sends("JOIN #ops", "TOPIC #ops :another channel")
        plan = ensureDeferred(restore_channel(self.world.server, "#staff", self.before, API, do=True))
        self.assertEqual(self.successResultOf(plan).channel, "#staff")
        channel = self.world.state.channels["#staff"]
        self.assertEqual(channel.topic.text, "the rules are simple")
        self.assertNotIn("successor", channel.registration.settings)

    def test_undone_in_one_command(self) -> None:
        """The dry run says all and does nothing; then everything is as it was, by one actor, while people talk."""
        before = {
            "topic": self.channel.topic,
            "modes": (set(self.channel.flags), dict(self.channel.params), set(self.channel.lists["b"])),
            "access": {key: access.flags for key, access in self.channel.registration.access.items()},
            "settings": dict(self.channel.registration.settings),
        }
        self.take_over()
        self.assertEqual(set(self.prefixes()), {"mallory", "joe"})
        self.mallory.lines()
        self.joe.lines()
        count = len(self.world.store.rows)

        shown = self.restore(do=False)
        self.assertEqual(len(self.world.store.rows), count)
        self.assertIn("set FOUNDER to ann", shown.changes)
        self.assertIn("topic: the rules are simple", shown.changes)
        self.assertIn("mode -b ann!*@*", shown.changes)
        self.assertTrue([words for words in shown.changes if words.startswith("flags of bob: + to +")])
        self.assertFalse([words for words in shown.changes if "sesame" in words])

        self.joe.sends("PRIVMSG #ops :what is going on?")
        done = self.restore(do=True)
        self.joe.sends("PRIVMSG #ops :ah, thanks")
        self.assertEqual(done.events, shown.events)

        channel = self.channel
        self.assertEqual(channel.registration.founder, "ann")
        self.assertEqual({key: each.flags for key, each in channel.registration.access.items()}, before["access"])
        self.assertEqual(channel.registration.settings, before["settings"])
        self.assertEqual((channel.topic.text, channel.topic.set_by), (before["topic"].text, before["topic"].set_by))
        self.assertEqual((channel.flags, channel.params, set(channel.lists["b"])), before["modes"])
        self.assertEqual(self.prefixes(), {"mallory": "o", "joe": ""})

        rows = [row for row in self.world.store.rows[count:] if row.event_type != "user.away"]
        self.assertEqual({row.actor_uid for row in rows}, {"admin:root"})
        self.assertEqual(rows[0].event_type, "services.chan_restore")
        self.assertEqual([row.sequence for row in rows], list(range(rows[0].sequence, rows[0].sequence + len(rows))))
        self.assertEqual(len({row.timestamp for row in rows}), 1)

        heard = self.mallory.lines()
        talk = [line for line in heard if "PRIVMSG" in line]
        self.assertEqual([line.rpartition(":")[2] for line in talk], ["what is going on?", "ah, thanks"])
        self.assertIn(":irc.test TOPIC #ops :the rules are simple", heard)
        for client, prefix in ((self.ann, "qo"), (self.bob, "o")):
            client.sends("JOIN #ops")
            self.assertEqual(self.prefixes()[client.nick], prefix)
        self.assertEqual(self.restore(do=True).events, [])

    def test_founder_undoes_it(self) -> None:
        """Without the founder's place lost, the founder needs nobody: look, confirm."""
        self.mallory.sends("CS FLAGS #ops bob -*", "TOPIC #ops :0wned", "MODE #ops +bm ann!*@*", "KICK #ops ann :bye")
        self.ann.lines()
        self.ann.sends("CS RESTORE #ops -7m")
        self.assertIn("CONFIRM", self.ann.lines()[-1])
        self.ann.sends("CS RESTORE #ops -7m CONFIRM")
        self.assertIn("is as it was", self.ann.lines()[-1])
        self.assertEqual(self.channel.topic.text, "the rules are simple")
        self.assertEqual(set(self.channel.registration.access["bob"].flags), set("AOhioRrtv"))
        [restored] = [event for event in self.world.events() if isinstance(event, ChanRestore)]
        self.assertEqual(restored.actor_uid, self.ann.uid)
        last = [event for event in self.world.events() if isinstance(event, ChanFlags | ChannelModeChange)][-2:]
        self.assertEqual({event.actor_uid for event in last}, {self.ann.uid})

    def test_dropped_channel(self) -> None:
        """A channel that was given up, and is empty, is registered again by staff, and by nobody else."""
        self.take_over()
        self.mallory.sends("CS DROP #ops #ops", "KICK #ops joe :bye", "PART #ops")
        self.assertNotIn("#ops", self.world.state.channels)
        self.ann.lines()
        self.ann.sends("CS RESTORE #ops -7m")
        self.assertIn("is not registered", self.ann.lines()[-1])
        self.restore(do=True)
        self.assertEqual(self.channel.registration.founder, "ann")
        self.assertEqual(self.channel.topic.text, "the rules are simple")
        self.assertEqual(self.channel.params, {"l": "50"})
        self.bob.sends("JOIN #ops")
        self.assertEqual(self.prefixes(), {"bob": "o"})

    def test_gone_accounts_get_nothing_back(self) -> None:
        """What an account of that name has now may be somebody else's."""
        self.take_over()
        self.bob.sends("NS DROP password-bob")
        self.restore(do=True)
        self.assertNotIn("bob", self.channel.registration.access)

    def test_unregistered_channel(self) -> None:
        """Where no list says who may, whoever runs it now goes on, unless those of then are still there."""
        self.joe.sends("JOIN #free", "TOPIC #free :good")
        self.bob.sends("JOIN #free")
        self.world.clock.advance(60)
        at = format_timestamp(self.world.clock.seconds() - 30)
        self.joe.sends("MODE #free +o bob", "TOPIC #free :bad")
        run = restore_channel(self.world.server, "#free", at, API, do=True)
        self.successResultOf(ensureDeferred(run))
        free = self.world.state.channels["#free"]
        self.assertEqual(free.topic.text, "good")
        self.assertEqual(free.members, {self.joe.uid: "o", self.bob.uid: ""})
        self.joe.sends("MODE #free +o bob", "PART #free")
        self.successResultOf(ensureDeferred(restore_channel(self.world.server, "#free", at, API, do=True)))
        self.assertEqual(free.members, {self.bob.uid: ""})

    def test_nothing_to_give_back(self) -> None:
        """No such channel then, or nobody there now."""
        for name, at, words in (
            ("#never", self.before, "There was no channel"),
            ("#ops", "2020-01-01T00:00:00.000000Z", "There was no channel"),
        ):
            run = ensureDeferred(restore_channel(self.world.server, name, at, API, do=True))
            with pytest.raises(CannotRestore, match=words):
                self.successResultOf(run)
