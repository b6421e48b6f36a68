"""What admins do through the API: the same decisions as operators' commands, all in the log."""

from __future__ import annotations

from typing import Any

from slircd.admin.routes import ROUTES
from tests.admin.harness import READER, AdminTestCase, Answer


class Actions(AdminTestCase):
    def do(self, name: str, **body: Any) -> Answer:
        return self.ask(f"/admin/actions/{name}", method="POST", body=body)

    def done(self, name: str, **body: Any) -> list[str]:
        """The types of events that an action caused, `admin.action` being the first."""
        answer = self.do(name, **body)
        self.assertEqual(answer.status, 200, answer.body)
        types = [event["event_type"] for event in answer.json["events"]]
        rows = self.world.store.rows[-len(types) :]
        self.assertEqual([row.event_type for row in rows], types)
        self.assertEqual({row.actor_uid for row in rows if row.event_type != "channel.destroy"}, {"admin:admin"})
        return types

    def test_kill(self) -> None:
        """The user is gone, and the log says who asked for it."""
        ann = self.client("ann")
        uid = ann.uid
        self.assertEqual(self.done("kill", nick="ann", reason="spam"), ["admin.action", "oper.kill", "user.disconnect"])
        self.assertTrue(ann.is_closed)
        [action] = self.events_of("admin.action")
        self.assertEqual((action.nick, action.action, action.target), ("admin", "kill", uid))
        self.assertEqual(action.arguments, {"nick": "ann", "reason": "spam"})

    def test_users(self) -> None:
        """Another nick and another host."""
        ann = self.client("ann")
        self.assertEqual(self.done("sanick", nick="ann", new_nick="eve"), ["admin.action", "user.nick_change"])
        self.assertEqual(self.done("chghost", nick="eve", host="a.b"), ["admin.action", "user.host_change"])
        self.assertEqual(self.world.state.users[ann.uid].source, "eve!~ann@a.b")

    def test_channels(self) -> None:
        """Join, topic, modes, kick, part: members see them as the server's."""
        [ann] = self.on_channel("#c", "@ann")
        self.client("bob")
        self.assertEqual(self.done("sajoin", nick="bob", channel="#C"), ["admin.action", "channel.join"])
        self.assertEqual(self.done("topic", channel="#c", topic="hello"), ["admin.action", "channel.topic_change"])
        self.assertEqual(
            self.done("mode", channel="#c", modes="+bPo x!*@* bob"),
            ["admin.action", "channel.ban_add", "channel.mode_change"],
        )
        self.assertEqual(self.done("kick", channel="#c", nick="bob"), ["admin.action", "channel.kick"])
        self.assertSees(
            ann,
            ":irc.test TOPIC #c :hello",
            ":irc.test MODE #c +bPo x!*@* bob",
            ":irc.test KICK #c bob :admin",
        )
        self.assertEqual(self.done("sapart", channel="#c", nick="ann"), ["admin.action", "channel.part"])
        self.assertEqual(self.world.state.channels["#c"].topic.set_by, "admin!admin@services")

    def test_a_text_is_one_line(self) -> None:
        """No line end gets through, the last character included."""
        self.on_channel("#c", "@ann")
        for body in ({"topic": "x\n"}, {"topic": "x\r\nQUIT"}, {"topic": "x\0"}, {"channel": "#c\n", "topic": "x"}):
            with self.subTest(body):
                self.assertEqual(self.do("topic", **{"channel": "#c", **body}).status, 400)
        self.assertEqual(self.do("kick", channel="#c", nick="ann", reason="x\n").status, 400)
        self.assertEqual(self.do("announce", text="x\n").status, 400)

    def test_a_key_is_in_no_action(self) -> None:
        """What was asked is recorded without the key; the answer does not repeat it either."""
        self.on_channel("#c", "@ann")
        answer = self.do("mode", channel="#c", modes="+k secret")
        self.assertNotIn(b"secret", answer.body)
        [action] = self.events_of("admin.action")
        self.assertEqual(action.arguments["modes"], "+k *")
        self.assertEqual(self.world.state.channels["#c"].params, {"k": "secret"})

    def test_what_is_refused_of_modes(self) -> None:
        """What can be done is, the rest is said; a mode that is none is a mistake of the request."""
        self.on_channel("#c", "@ann")
        answer = self.do("mode", channel="#c", modes="+mo nobody")
        self.assertEqual([event["event_type"] for event in answer.json["events"]][1:], ["channel.mode_change"])
        self.assertEqual(answer.json["refused"], ["nobody: No such nick/channel"])
        self.assertEqual(self.do("mode", channel="#c", modes="+o nobody").status, 404)
        self.assertEqual(self.do("mode", channel="#c", modes="+X").json["parameter"], "modes")
        self.assertEqual(self.do("mode", channel="#c", modes="m-").status, 200)

    def test_lines(self) -> None:
        """A K-line disconnects whom it hits, and is removed again; a wide one needs force."""
        ann = self.client("ann", address="198.51.100.1")
        self.client("bob")
        refused = self.do("kline", mask="*@*", reason="all")
        self.assertEqual((refused.status, refused.json["code"]), (400, "INVALID_MASK"))
        self.assertEqual(
            self.done("kline", mask="*@198.51.100.1", reason="spam", duration="1d"),
            ["admin.action", "oper.kline", "user.disconnect"],
        )
        self.assertTrue(ann.is_closed)
        [ban] = self.ask("/admin/bans").json
        self.assertEqual((ban["kind"], ban["set_by"]), ("kline", "admin!admin@services"))
        self.assertIsNotNone(ban["expires"])
        self.assertEqual(self.do("kline", mask="*@198.51.100.1", reason="spam").json["code"], "ALREADY_SET")
        self.assertEqual(self.done("unkline", mask="*@198.51.100.1"), ["admin.action", "oper.unkline"])
        self.assertEqual(self.do("unkline", mask="*@198.51.100.1").status, 409)
        self.assertEqual(self.done("rline", mask="bad name", reason="x"), ["admin.action", "oper.rline"])
        self.assertEqual(
            self.do("kline", mask="*@192.0.2.7", reason="x", duration="soon").json["parameter"], "duration"
        )

    def test_filters(self) -> None:
        """Set and removed; an expression that is none is refused."""
        self.assertEqual(
            self.done("filter", pattern="casino", action="block", reason="spam"), ["admin.action", "oper.filter_add"]
        )
        self.assertEqual(self.done("unfilter", pattern="casino"), ["admin.action", "oper.filter_remove"])
        self.assertEqual(self.do("filter", pattern="(", action="block", reason="x").json["parameter"], "pattern")

    def test_words(self) -> None:
        """An announcement reaches everybody, WALLOPS those who listen."""
        ann, bob = self.client("ann"), self.client("bob")
        bob.sends("MODE bob +w")
        bob.lines()
        self.assertEqual(self.do("announce", text="back in five").json["told"], 2)
        self.assertReceives(ann, ":irc.test NOTICE ann :back in five")
        self.assertEqual(self.do("wallops", text="hello").json["told"], 1)
        self.assertReceives(bob, ":irc.test NOTICE bob :back in five", ":irc.test WALLOPS :hello")

    def test_rehash(self) -> None:
        """The server says what came of it."""
        self.assertEqual(
            self.ask("/admin/actions/rehash", method="POST").json,
            {"messages": ["There is no configuration file to read again"]},
        )

    def test_restore(self) -> None:
        """Looked at first, then done, in one decision with what was asked."""
        [ann] = self.on_channel("#c", "@ann")
        ann.sends("TOPIC #c :before", "MODE #c +m")
        moment = self.world.store.rows[-1].timestamp
        self.world.clock.advance(60)
        ann.sends("TOPIC #c :after", "MODE #c -m")
        count = len(self.world.store.rows)
        looked = self.do("restore", channel="#c", at=moment, dry_run=True)
        self.assertEqual((looked.json["done"], looked.json["changes"]), (False, ["topic: before", "mode +m"]))
        self.assertEqual(len(self.world.store.rows), count)
        self.assertTrue(self.do("restore", channel="#c", at=moment).json["done"])
        self.assertEqual(
            [row.event_type for row in self.world.store.rows[count:]],
            ["admin.action", "services.chan_restore", "channel.topic_change", "channel.mode_change"],
        )
        self.assertEqual(self.do("restore", channel="#none", at=moment).status, 409)
        self.assertEqual(self.do("restore", channel="#c", at="soon").json["parameter"], "at")

    def test_operators_are_told(self) -> None:
        """Who listens to what operators do (snomask o) hears of it."""
        oper = self.oper("root")
        oper.sends("MODE root +s o")
        oper.lines()
        self.client("ann")
        self.done("kill", nick="ann")
        self.assertSees(oper, ":irc.test NOTICE root :*** admin (admin API): kill ann No reason given")

    def test_readers_may_not(self) -> None:
        """Every action needs the role admin."""
        actions = [path for method, path in ROUTES if path.startswith("/admin/actions/")]
        self.assertGreater(len(actions), 20)
        for path in actions:
            self.assertEqual(self.ask(path, READER, method="POST", body={}).status, 403, path)

    def test_what_is_nobody(self) -> None:
        """404 with the numeric that an operator would get."""
        refused = self.do("kill", nick="nobody")
        self.assertEqual((refused.status, refused.json["code"]), (404, "401"))
        self.assertEqual(self.do("topic", channel="#none", topic="x").status, 404)

    def test_bodies(self) -> None:
        """What is no JSON, no object, too much, unknown, or would be two lines is refused, with what is wrong."""
        ask = self.ask
        path = "/admin/actions/kill"
        self.assertEqual(ask(path, method="POST", raw=b"{", Content_Type="application/json").status, 400)
        self.assertEqual(ask(path, method="POST", raw=b"\xff", Content_Type="application/json").status, 400)
        self.assertEqual(ask(path, method="POST", raw=b"nick=ann").status, 415)
        self.assertEqual(ask(path, method="POST", raw=b"x" * 70_000, Content_Type="application/json").status, 413)
        self.assertEqual(self.do("kill").json["parameter"], "body")
        self.assertEqual(self.do("kill", nick=5).json["parameter"], "nick")
        self.assertEqual(self.do("kill", nick="ann", why="x").status, 400)
        self.assertEqual(self.do("announce", text="a\r\nQUIT").json["parameter"], "text")
        self.assertEqual(self.do("kill", nick="a b").status, 400)

    def test_a_log_that_cannot_be_written(self) -> None:
        """Nothing changes, and the answer says when to try again."""
        self.client("ann")
        self.world.store.fail("disk full")
        refused = self.do("kill", nick="ann")
        self.world.store.recover()
        self.assertEqual((refused.status, refused.headers["retry-after"]), (503, "5"))
        self.assertIsNotNone(self.world.state.user_by_nick("ann"))
