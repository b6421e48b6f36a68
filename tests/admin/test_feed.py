"""The feed: nothing lost, nothing twice, whether it comes from memory, from the log, or across the seam."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

from twisted.internet.defer import ensureDeferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from slircd.admin import feed as feed_module
from slircd.admin.feed import Filter, Follower, id_at
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.replay.public import told_event
from tests.admin.harness import READER, AdminTestCase


class Following(AdminTestCase):
    def take(self, follower: Follower) -> list[dict[str, Any]]:
        """What the follower is given now; an empty list where it would wait."""
        found: list[Any] = []
        taking = ensureDeferred(follower.take(0.5))
        taking.addCallback(found.extend)
        for _ in range(50):
            if taking.called:
                break
            self.world.clock.advance(0.1)
        self.assertTrue(taking.called)
        return [json.loads(each.document) for each in found]

    def everything(self, follower: Follower) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while some := self.take(follower):
            found += some
        return found

    def logged(self) -> list[int]:
        return [row.sequence for row in self.world.store.rows]

    def test_from_the_log_and_then_live(self) -> None:
        """A follower from the beginning is given every event once, in order, and what comes later, too."""
        with mock.patch.object(feed_module, "PAGE", 3):
            follower = self.backend.feed.follow(Filter(), 0)
            ann = self.client("ann")
            ann.sends("JOIN #a")
            seen = self.everything(follower)
            self.client("bob").sends("JOIN #a")
            ann.sends("TOPIC #a :hi")
            seen += self.everything(follower)
        self.assertEqual([each["sequence"] for each in seen], self.logged())
        self.assertEqual(seen[-1]["text"], "ann topic: hi on #a")

    def test_from_now_on(self) -> None:
        """Without a sequence it begins with the next event."""
        ann = self.client("ann")
        follower = self.backend.feed.follow(Filter())
        self.assertEqual(self.take(follower), [])
        ann.sends("JOIN #a")
        self.assertEqual([each["event_type"] for each in self.take(follower)], ["channel.create", "channel.join"])

    def test_events_that_are_not_committed_wait(self) -> None:
        """Nobody is told what the log could lose."""
        ann = self.client("ann")
        follower = self.backend.feed.follow(Filter())
        self.world.store.automatic = False
        ann.sends("JOIN #a")
        self.assertEqual(self.take(follower), [])
        self.world.store.commit()
        self.assertEqual(len(self.take(follower)), 2)

    def test_a_slow_follower_reads_the_log(self) -> None:
        """Who is further behind than memory goes misses nothing, and costs no memory."""
        feed = self.backend.feed
        feed._kept = type(feed._kept)(maxlen=4)
        with mock.patch.object(feed_module, "KEPT", 4), mock.patch.object(feed_module, "PAGE", 2):
            ann = self.client("ann")
            follower = feed.follow(Filter())
            begun = len(self.world.store.rows)
            for number in range(6):
                ann.sends(f"JOIN #c{number}")
            seen = self.everything(follower)
        self.assertEqual([each["sequence"] for each in seen], self.logged()[begun:])
        self.assertGreater(feed.behind, 0)

    def test_what_the_bus_dropped_is_in_the_log(self) -> None:
        """A gap in what the bus delivers is read from the log."""
        follower = self.backend.feed.follow(Filter())
        begun = len(self.world.store.rows)
        ann = self.client("ann")
        subscription = next(each for each in self.world.server.bus._subscriptions if each.name == "feed")
        with mock.patch.object(type(subscription), "offer", return_value=False):
            ann.sends("JOIN #a")
        ann.sends("JOIN #b")
        self.assertEqual([each["sequence"] for each in self.everything(follower)], self.logged()[begun:])

    def test_filters(self) -> None:
        """By type, target and actor, in memory and in the log alike."""
        ann, bob = self.client("ann"), self.client("bob")
        live = self.backend.feed.follow(Filter({"channel.join"}, "#a", bob.uid))
        for client in (ann, bob):
            client.sends("JOIN #a,#b")
        for follower in (live, self.backend.feed.follow(Filter({"channel.join"}, "#a", bob.uid), 1)):
            [only] = self.everything(follower)
            self.assertEqual((only["target"], only["actor_uid"]), ("#a", bob.uid))

    def test_keys_are_masked(self) -> None:
        """A channel's key is in no feed."""
        follower = self.backend.feed.follow(Filter(), 0)
        self.client("ann").sends("JOIN #a", "MODE #a +k secret")
        self.assertNotIn("secret", json.dumps(self.everything(follower)))

    def test_finding_a_sequence(self) -> None:
        """The id behind which to begin is found for every sequence, those that are not in the log included."""
        self.client("ann").sends("JOIN #a")
        self.past.write()
        with LogReader(str(self.past.path)) as reader:
            for row in self.world.store.rows:
                self.assertEqual(id_at(reader, row.sequence), row.id)
            self.assertEqual(id_at(reader, 0), 0)
            self.assertEqual(id_at(reader, 10**9), self.world.store.rows[-1].id)


class ServerSentEvents(AdminTestCase):
    def open(self, path: str = "/admin/stream", **headers: str) -> Any:
        channel, transport = self.connect()
        from base64 import b64encode

        given = {"Authorization": "Basic " + b64encode(READER.encode()).decode(), "Host": "x", **headers}
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
        channel.dataReceived(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        self.channel = channel
        return transport

    def ids(self, data: bytes) -> list[int]:
        return [int(line[4:]) for line in data.splitlines() if line.startswith(b"id: ")]

    def test_a_stream(self) -> None:
        """Events with their sequence as id, resumed behind Last-Event-ID, a comment when nothing happens."""
        ann = self.client("ann")
        transport = self.open()
        ann.sends("JOIN #a")
        self.assertIn(b"content-type: text/event-stream", transport.value().lower())
        last = self.ids(transport.value())
        self.assertEqual(last, [row.sequence for row in self.world.store.rows[-2:]])
        self.world.clock.advance(15)
        self.assertIn(b": still here", transport.value())
        again = self.open(Last_Event_ID=str(last[0]))
        self.world.turn()
        self.assertEqual(self.ids(again.value()), last[1:])

    def test_a_reader_that_is_gone(self) -> None:
        """It follows no longer."""
        self.open()
        self.assertEqual(self.backend.feed.followers, 1)
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.channels.remove(self.channel)
        self.assertEqual(self.backend.feed.followers, 0)

    def test_a_reader_that_may_not_any_more(self) -> None:
        """A password that was changed ends the stream within half a minute."""
        transport = self.open()
        self.users = {}
        for _ in range(3):
            self.world.clock.advance(15)
        self.assertTrue(transport.value().endswith(b"0\r\n\r\n"))
        self.assertEqual(self.backend.feed.followers, 0)

    def test_back_pressure(self) -> None:
        """A reader that does not read is written no more than what is on its way."""
        ann = self.client("ann")
        transport = self.open()
        transport.producer.pauseProducing()
        size = len(transport.value())
        for number in range(20):
            ann.sends(f"JOIN #c{number}")
        self.assertLess(len(transport.value()), size + 3000)
        transport.producer.resumeProducing()
        for _ in range(3):
            self.world.turn()
        self.assertEqual(len(self.ids(transport.value())), 40)

    def test_bad_resumption(self) -> None:
        """An id that is none is refused."""
        self.assertEqual(self.ask("/admin/stream", Last_Event_ID="x").status, 400)


def test_messages_are_withheld() -> None:
    """What people said is told only to those who may read it."""
    row = Row(1, "t", 1, "message.privmsg", "u", "#a", '{"v":1,"nick":"ann","text":"secret"}', "s")
    assert told_event(row)["payload"] == {"v": 1, "nick": "ann"}
    assert not Filter().takes(row)
    assert Filter(messages=True).takes(row)
