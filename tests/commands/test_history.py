"""Message history: what is kept, who may read it, and how it is found again."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from slircd.events.memory import MemoryStore
from slircd.events.types import Message
from slircd.state.snapshot import decode_snapshot, encode_snapshot
from slircd.wire.message import parse
from tests.harness import FakeClient, ServerTestCase, World, make_config

CAPS = "message-tags server-time batch echo-message labeled-response draft/chathistory"
EVENTS = CAPS + " draft/event-playback"
HISTORY: dict[str, Any] = {"history": {"channels": True, "direct": True}, "accounts": {"password_length": 1}}


def texts(lines: list[str]) -> list[str]:
    """The last parameters of the messages among lines."""
    parsed = [parse(line.encode()) for line in lines]
    return [message.params[-1] for message in parsed if message.command in ("PRIVMSG", "NOTICE")]


def commands(lines: list[str]) -> list[str]:
    return [parse(line.encode()).command for line in lines]


def msgids(lines: list[str]) -> list[str]:
    return [parse(line.encode()).tags["msgid"] for line in lines]


class HistoryTestCase(ServerTestCase):
    config = HISTORY

    def said(self, client: FakeClient, target: str, *words: str) -> list[str]:
        """Say each word, a second apart; the echoes."""
        echoes: list[str] = []
        for word in words:
            self.world.clock.advance(1)
            echoes += client.asks(f"PRIVMSG {target} :{word}")
        return echoes

    def asked(self, client: FakeClient, line: str) -> list[str]:
        """What a question brings, without its batch."""
        first, *inner, last = client.asks(f"CHATHISTORY {line}")
        self.assertEqual((commands([first, last])), ["BATCH", "BATCH"])
        return inner

    def account(self, nick: str, *, caps: str = CAPS) -> FakeClient:
        """A user who is logged in to an account of its nick."""
        client = self.client(nick, caps=caps)
        client.asks("NS REGISTER password" if nick.lower() not in self.world.state.accounts else "NS IDENTIFY password")
        assert self.world.state.users[client.uid].account == nick
        return client


class Keeping(HistoryTestCase):
    def test_a_message_is_an_event(self) -> None:
        """A channel's message is written with all that its line needs, and shown with the id of its row."""
        ann, bob = self.on_channel("#c", "@ann", "bob", caps=CAPS)
        ann.asks("@+x=1;+draft/reply=z PRIVMSG #C :hello")
        [event] = self.events_of("message.privmsg")
        assert isinstance(event, Message)
        self.assertEqual((event.target, event.to, event.text, event.nick), ("#c", "#c", "hello", "ann"))
        self.assertEqual(event.tags, {"+x": "1", "+draft/reply": "z"})
        row = self.world.store.rows[-1]
        self.assertEqual(msgids(bob.lines()), [f"{row.id:x}-{row.session_id[:10]}"])

    def test_it_waits_for_its_commit(self) -> None:
        """Nobody sees a message that the log could lose, and one that cannot be written is refused."""
        ann, bob = self.on_channel("#c", "ann", "bob")
        self.world.store.automatic = False
        self.assertEqual(ann.asks("PRIVMSG #c :hello"), [])
        self.assertEqual(bob.lines(), [])
        self.world.store.commit()
        self.assertEqual(bob.lines(), [":ann!~ann@192.0.2.1 PRIVMSG #c :hello"])
        self.world.store.fail("disk full")
        self.assertIn("TEMPORARILY_UNAVAILABLE", ann.asks("PRIVMSG #c :lost")[0])
        self.world.store.recover()
        self.assertEqual(bob.lines(), [])

    def test_what_is_never_kept(self) -> None:
        """Messages to services, to a part of a channel, and passing signals are no events."""
        ann, _ = self.on_channel("#c", "@ann", "bob", caps=CAPS)
        ann.sends("PRIVMSG NickServ :IDENTIFY secret", "NOTICE NickServ :secret", "PRIVMSG @#c :ops only")
        ann.sends("@+typing=active TAGMSG #c", "@+draft/react=x TAGMSG #c", "PRIVMSG bob,NickServ :both")
        kept = [(event.event_type, event.target) for event in self.world.events() if isinstance(event, Message)]
        self.assertEqual(kept[0], ("message.tagmsg", "#c"))
        self.assertEqual(len(kept), 2)
        self.assertNotIn("secret", "".join(row.payload for row in self.world.store.rows))

    def test_settings_switch_it_off(self) -> None:
        """A channel, or an account, can say that nothing of it is kept."""
        ann = self.account("ann")
        bob = self.client("bob")
        ann.sends("JOIN #c", "CS REGISTER #c", "CS SET #c HISTORY OFF", "NS SET NOHISTORY ON")
        ann.sends("PRIVMSG #c :one", "PRIVMSG bob :two")
        bob.sends("PRIVMSG ann :three")
        self.assertEqual(self.events_of("message.privmsg"), [])
        self.assertIn("INVALID_TARGET", ann.asks("CHATHISTORY LATEST #c * 10")[0])
        ann.sends("CS SET #c HISTORY ON", "PRIVMSG #c :four")
        self.assertEqual(len(self.events_of("message.privmsg")), 1)


class Off(ServerTestCase):
    def test_off_is_off(self) -> None:
        """Without [history] nothing is kept, offered or answered."""
        ann, _ = self.on_channel("#c", "ann", "bob")
        ann.sends("PRIVMSG #c :hello", "PRIVMSG bob :hello")
        self.assertEqual([event for event in self.world.events() if isinstance(event, Message)], [])
        listed = " ".join(ann.asks("CAP LS 302"))
        self.assertNotIn("draft/chathistory", listed)
        self.assertIn("MESSAGE_ERROR", ann.asks("CHATHISTORY LATEST #c * 10")[0])


class Asking(HistoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = self.on_channel("#c", "@ann", "bob", caps=CAPS)
        self.echoes = self.said(self.ann, "#C", *"abcdefghij")
        self.ids = msgids(self.echoes)
        self.times = [parse(line.encode()).tags["time"] for line in self.echoes]

    def test_lines_are_as_they_were(self) -> None:
        """What comes back is what was sent, in a batch of the channel's name."""
        lines = self.bob.asks("CHATHISTORY LATEST #C * 3")
        self.assertEqual(
            lines[0].split(" ", 1)[1], f":irc.test BATCH +{lines[0].split('+')[1].split()[0]} chathistory #c"
        )
        reference = lines[0].split("+")[1].split()[0]
        self.assertEqual(lines[1:-1], [line.replace("@", f"@batch={reference};", 1) for line in self.echoes[-3:]])

    def test_pages(self) -> None:
        """Each subcommand gives its messages, by id and by time alike, in order."""
        a, d, g, j = (self.ids[at] for at in (0, 3, 6, 9))
        cases = {
            "LATEST #c * 3": "hij",
            f"LATEST #c msgid={g} 10": "hij",
            f"LATEST #c msgid={g} 2": "ij",
            f"BEFORE #c msgid={d} 10": "abc",
            f"BEFORE #c msgid={d} 2": "bc",
            f"AFTER #c msgid={g} 10": "hij",
            f"AFTER #c msgid={g} 2": "hi",
            f"AROUND #c msgid={d} 1": "d",
            f"AROUND #c msgid={d} 3": "cde",
            f"AROUND #c msgid={a} 4": "abcd",
            f"BETWEEN #c msgid={d} msgid={g} 10": "ef",
            f"BETWEEN #c msgid={g} msgid={d} 10": "ef",
            f"BETWEEN #c msgid={a} msgid={j} 3": "bcd",
            f"BETWEEN #c msgid={j} msgid={a} 3": "ghi",
            f"BETWEEN #c msgid={d} msgid={d} 3": "",
            f"AFTER #c msgid={j} 10": "",
        }
        for question, expected in cases.items():
            self.assertEqual("".join(texts(self.asked(self.bob, question))), expected, question)
            by_time = question
            for msgid, time in zip(self.ids, self.times, strict=True):
                by_time = by_time.replace(f"msgid={msgid}", f"timestamp={time}")
            self.assertEqual("".join(texts(self.asked(self.bob, by_time))), expected, by_time)

    def test_bad_questions(self) -> None:
        """What cannot be asked is answered with the draft's FAIL."""
        for question, code in {
            "": "INVALID_PARAMS",
            "NONSENSE #c * 1": "INVALID_PARAMS",
            "LATEST #c *": "INVALID_PARAMS",
            "LATEST #c * 1 2": "INVALID_PARAMS",
            "LATEST #c * many": "INVALID_PARAMS",
            "LATEST #c * 0": "INVALID_PARAMS",
            "BEFORE #c * 10": "INVALID_PARAMS",
            "BEFORE #c timestamp=yesterday 10": "INVALID_PARAMS",
            "BEFORE #c timestamp=2025-13-01T00:00:00.000Z 10": "INVALID_PARAMS",
            "AFTER #c timestamp=9999-12-31T23:59:59.999Z 10": "INVALID_PARAMS",
            "BEFORE #c msgid=unknown 10": "MESSAGE_ERROR",
            "TARGETS msgid=x timestamp=2025-01-01T00:00:00.000Z 10": "INVALID_PARAMS",
            "LATEST #nosuch * 10": "INVALID_TARGET",
            "LATEST nobody * 10": "INVALID_TARGET",
            "LATEST NickServ * 10": "INVALID_TARGET",
        }.items():
            [line] = self.bob.asks(f"CHATHISTORY {question}")
            self.assertIn(f"FAIL CHATHISTORY {code} ", line, question)

    def test_a_label_is_on_the_batch(self) -> None:
        """A labelled question is answered by one batch that has the label."""
        lines = self.bob.asks("@label=x CHATHISTORY LATEST #c * 2")
        self.assertTrue(lines[0].startswith("@label=x;"), lines[0])
        self.assertEqual(commands(lines), ["BATCH", "PRIVMSG", "PRIVMSG", "BATCH"])

    def test_members_only(self) -> None:
        """Who is not on a channel, or not any more, gets the same answer as for one that does not exist."""
        eve = self.client("eve", caps=CAPS)
        there, missing = (eve.asks(f"CHATHISTORY LATEST {name} * 10")[0] for name in ("#c", "#x"))
        self.assertEqual(there.split(" ", 1)[1].replace("#c", "#x"), missing.split(" ", 1)[1])
        self.ann.sends("KICK #c bob")
        self.assertIn("INVALID_TARGET", self.bob.asks("CHATHISTORY LATEST #c * 10")[-1])

    def test_a_new_channel_of_the_name_knows_nothing(self) -> None:
        """When everybody has left, the next channel of that name begins with an empty history."""
        self.ann.sends("PART #c")
        self.bob.sends("PART #c")
        self.world.clock.advance(1)
        self.bob.asks("JOIN #c")
        self.assertEqual(self.asked(self.bob, "LATEST #c * 10"), [])

    def test_a_renamed_channel_inherits_nothing(self) -> None:
        """A channel that takes the name of one that is gone does not get what was said there."""
        eve = self.client("eve", caps=CAPS)
        eve.asks("JOIN #old")
        self.said(self.ann, "#c", "k")
        for client in (self.ann, self.bob):
            client.sends("PART #c")
        self.world.clock.advance(1)
        eve.asks("RENAME #old #c")
        self.said(eve, "#c", "new")
        self.assertEqual(texts(self.asked(eve, "LATEST #c * 10")), ["new"])

    def test_it_follows_a_rename(self) -> None:
        """What was said under the old name is shown under the new one, by every way of asking, and counts as its."""
        names = ["#c", "#d", "#e", "#f"]
        for old, new in pairwise(names):
            self.world.clock.advance(100)
            self.ann.asks(f"RENAME {old} {new}")
            self.said(self.ann, new, f"on {new}")
        self.bob.lines()
        everything = [*"abcdefghij", "on #d", "on #e", "on #f"]
        latest = self.asked(self.bob, "LATEST #f * 100")
        self.assertEqual(texts(latest), everything)
        self.assertEqual({parse(line.encode()).params[0] for line in latest}, {"#f"})
        self.assertEqual(texts(self.asked(self.bob, "LATEST #f * 2")), everything[-2:])
        ids = msgids(latest)
        for question, wanted in (
            (f"BEFORE #f msgid={ids[11]} 3", everything[8:11]),
            (f"AFTER #f msgid={ids[8]} 3", everything[9:12]),
            (f"AROUND #f msgid={ids[10]} 4", everything[8:12]),
            (f"BETWEEN #f msgid={ids[7]} msgid={ids[12]} 100", everything[8:12]),
            (f"BETWEEN #f msgid={ids[12]} msgid={ids[7]} 2", everything[10:12]),
        ):
            self.assertEqual(texts(self.asked(self.bob, question)), wanted, question)
        for old in names[:-1]:
            self.assertIn("INVALID_TARGET", self.bob.asks(f"CHATHISTORY LATEST {old} * 10")[0])

    def test_a_rename_back(self) -> None:
        """A channel that gets its first name again has all of it, and nothing of the one that had the name between."""
        self.ann.asks("RENAME #c #d")
        self.said(self.ann, "#d", "k")
        eve = self.client("eve", caps=CAPS)
        eve.asks("JOIN #c")
        self.said(eve, "#c", "hers")
        self.bob.asks("JOIN #c")
        self.assertEqual(texts(self.asked(self.bob, "LATEST #c * 10")), ["hers"])
        self.bob.asks("PART #c")
        eve.asks("PART #c")
        self.world.clock.advance(100)
        self.ann.asks("RENAME #d #c")
        self.said(self.ann, "#c", "l")
        self.assertEqual("".join(texts(self.asked(self.bob, "LATEST #c * 100"))), "abcdefghijkl")

    def test_a_new_channel_of_the_old_name_knows_nothing(self) -> None:
        """Neither in the moment of the rename, nor when it is renamed itself."""
        self.ann.asks("RENAME #c #d")
        eve = self.client("eve", caps=CAPS)
        eve.asks("JOIN #c")
        self.assertEqual(self.asked(eve, "LATEST #c * 100"), [])
        self.said(eve, "#c", "hers")
        eve.asks("RENAME #c #e")
        self.assertEqual(texts(self.asked(eve, "LATEST #e * 100")), ["hers"])

    def test_renames_and_their_limits(self) -> None:
        """Cut-offs and ages hold across names; so do restarts, and of very many names the newest are known."""
        self.ann.asks("NS REGISTER password", "CS REGISTER #c")
        self.world.clock.advance(3600)
        self.ann.asks("RENAME #c #d")
        self.said(self.ann, "#d", "k")
        self.ann.asks("CS SET #d HISTORY JOINED")
        eve = self.client("eve", caps=CAPS)
        self.world.clock.advance(1)
        eve.asks("JOIN #d")
        self.ann.asks("RENAME #d #e")
        self.said(self.ann, "#e", "l")
        self.assertEqual(texts(self.asked(eve, "LATEST #e * 100")), ["l"])
        self.ann.asks("CS SET #e HISTORY 1h")
        self.assertEqual("".join(texts(self.asked(self.bob, "LATEST #e * 100"))), "kl")
        self.ann.asks("CS SET #e HISTORY ON")
        world = self.world = self.world.restart()
        bob = world.client("bob", caps=CAPS)
        bob.asks("JOIN #e")
        self.assertEqual("".join(texts(self.asked(bob, "LATEST #e * 100"))), "abcdefghijkl")
        ann = world.client("ann", caps=CAPS)
        ann.asks("NS IDENTIFY password", "JOIN #e")
        for number in range(40):
            world.clock.advance(100)
            self.assertIn("#n", "".join(ann.asks(f"RENAME {f'#n{number - 1}' if number else '#e'} #n{number}")))
            self.said(ann, f"#n{number}", f"{number}")
        bob.lines()
        self.assertEqual(texts(self.asked(bob, "LATEST #n39 * 100")), [str(number) for number in range(7, 40)])

    def test_a_renamed_channel_among_the_targets(self) -> None:
        """TARGETS has it by its new name, and by what was said under the old one."""
        self.ann.asks("RENAME #c #d")
        bounds = "timestamp=2020-01-01T00:00:00.000Z timestamp=2262-01-01T00:00:00.000Z"
        [line] = self.asked(self.bob, f"TARGETS {bounds} 10")
        self.assertIn(f" TARGETS #d {parse(self.echoes[-1].encode()).tags['time']}", line)

    def test_redaction_after_a_rename(self) -> None:
        """What was said under the old name can be taken back under the new one, and not by who has the old one now."""
        caps = f"{CAPS} draft/message-redaction"
        self.ann.asks(f"CAP REQ :{caps}")
        msgid = msgids(self.echoes)[4]
        self.ann.asks("RENAME #c #d")
        eve = self.client("eve", caps=caps)
        eve.asks("JOIN #c")
        self.assertIn("UNKNOWN_MSGID", eve.asks(f"REDACT #c {msgid}")[0])
        self.assertIn(f" REDACT #d {msgid}", self.ann.asks(f"REDACT #d {msgid}")[0])
        self.assertEqual("".join(texts(self.asked(self.bob, "LATEST #d * 100"))), "abcdfghij")

    def test_happenings_follow_a_rename(self) -> None:
        """With event-playback joins, quits and the like of before are shown under the new name, too."""
        eve = self.client("eve", caps=EVENTS)
        eve.asks("JOIN #c")
        joe = self.client("joe")
        joe.asks("JOIN #c")
        joe.sends("QUIT")
        self.ann.asks("KICK #c eve", "RENAME #c #d", "TOPIC #d :new")
        eve.asks("JOIN #d")
        bodies = [line.split(" ", 1)[1] for line in self.asked(eve, "LATEST #d * 6")]
        self.assertEqual(
            [body.replace("~", "").replace("@192.0.2.1", "") for body in bodies],
            [
                ":eve!eve JOIN #d",
                ":joe!joe JOIN #d",
                ":joe!joe QUIT :Client quit",
                ":ann!ann KICK #d eve :ann",
                ":ann!ann TOPIC #d :new",
                ":eve!eve JOIN #d",
            ],
        )

    def test_a_rename_before_the_horizon(self) -> None:
        """Where retention has removed the rename, and all else that makes the state, what was said is still found."""
        self.ann.asks("RENAME #c #d")
        self.said(self.ann, "#d", "k")
        rows = self.world.store.rows
        try:
            self.world.store.rows = [row for row in rows if row.event_type.startswith("message.")]
            self.assertEqual("".join(texts(self.asked(self.bob, "LATEST #d * 100"))), "abcdefghijk")
        finally:
            self.world.store.rows = rows
        channel = decode_snapshot(encode_snapshot(self.world.state)).channels["#d"]
        self.assertEqual([(name.key, name.since) for name in channel.former], [("#c", channel.created_at)])

    def test_clients_that_do_not_ask(self) -> None:
        """The lines on joining, and ZNC's playback, have what was said under the old name."""
        self.ann.asks("RENAME #c #d")
        eve = self.client("eve", caps="server-time")
        self.world.clock.advance(1)
        self.assertEqual("".join(texts(eve.asks("JOIN #d"))), "abcdefghij")
        joe = self.client("joe", caps="server-time znc.in/playback")
        joe.asks("JOIN #d")
        self.assertEqual("".join(texts(joe.asks("PRIVMSG *playback :PLAY * 0"))), "abcdefghij")
        [line] = joe.asks("PRIVMSG *playback :LIST")
        self.assertIn(":#d ", line)

    def test_limits(self) -> None:
        """More than history.limit cannot be had, nor what is older than history.max_age_days."""
        self.world.server.use_config(make_config({"history": {"channels": True, "limit": 10, "max_age_days": 1}}))
        self.said(self.ann, "#c", "k")
        self.assertEqual("".join(texts(self.asked(self.bob, "LATEST #c * 100"))), "bcdefghijk")
        self.world.clock.advance(86_395)
        self.assertEqual("".join(texts(self.asked(self.bob, "LATEST #c * 100"))), "fghijk")

    def test_a_channel_limits_itself(self) -> None:
        """A channel's staff can say how old what members see may be."""
        self.ann.asks("NS REGISTER password", "CS REGISTER #c", "CS SET #c HISTORY 1h")
        self.world.clock.advance(3595)
        self.assertEqual("".join(texts(self.asked(self.bob, "LATEST #c * 100"))), "efghij")
        self.ann.asks("CS SET #c HISTORY JOINED")
        self.assertEqual(len(self.asked(self.bob, "LATEST #c * 100")), 10)
        for word in ("0h", "1y", "never", "99999d"):
            self.assertIn("HISTORY is ON, OFF, JOINED", self.ann.asks(f"CS SET #c HISTORY {word}")[0])

    def test_cutoff(self) -> None:
        """With history.cutoff = joined a member sees what was said since it joined."""
        self.world.server.use_config(make_config({"history": {"channels": True, "cutoff": "joined"}}))
        eve = self.client("eve", caps=CAPS)
        self.world.clock.advance(1)
        eve.asks("JOIN #c")
        self.said(self.ann, "#c", "k")
        self.assertEqual(texts(self.asked(eve, "LATEST #c * 100")), ["k"])
        self.assertEqual(len(self.asked(self.bob, "LATEST #c * 100")), 11)

    def test_answers_fit_the_queue(self) -> None:
        """A page never fills a client's send queue: it holds the end that was asked from."""
        config = make_config({"history": {"channels": True}, "limits": {"sendq_bytes": 65_536}})
        self.world.server.use_config(config)
        for number in range(200):
            self.ann.sends(f"@+x={'y' * 300} PRIVMSG #c :{number} {'z' * 300}")
        lines = self.asked(self.bob, "LATEST #c * 200")
        self.assertTrue(20 < len(lines) < 100, len(lines))
        self.assertTrue(texts(lines)[-1].startswith("199 "))
        self.assertFalse(self.bob.is_closed)

    def test_after_a_restart(self) -> None:
        """The log outlives the run; ids of unlogged messages never meet those of logged ones."""
        self.ann.sends("CS REGISTER #c")
        world = self.world = self.world.restart()
        bob = world.client("bob", caps=CAPS)
        bob.asks("JOIN #c")
        self.assertEqual(self.asked(bob, "LATEST #c * 10"), [])


class Conversations(HistoryTestCase):
    def test_both_sides(self) -> None:
        """Both sides of a conversation see all of it, whatever nicks they have; nobody else sees any."""
        ann, bob = self.account("ann"), self.account("bob")
        eve = self.client("eve", caps=CAPS)
        self.said(ann, "bob", "one")
        bob.asks("NICK robert")
        self.said(bob, "ann", "two")
        ann.asks("NICK annie")
        self.said(ann, "robert", "three")
        for client, name in ((ann, "robert"), (ann, "BOB"), (bob, "annie"), (bob, "ann")):
            self.assertEqual(texts(self.asked(client, f"LATEST {name} * 10")), ["one", "two", "three"], name)
        self.assertEqual(texts(self.asked(eve, "LATEST ann * 10")), [])

    def test_a_nick_inherits_nothing(self) -> None:
        """Somebody who takes the nick of who was not logged in sees nothing of its conversations."""
        ann, joe = self.account("ann"), self.client("joe", caps=CAPS)
        self.said(joe, "ann", "private")
        self.assertEqual(texts(self.asked(ann, "LATEST joe * 10")), ["private"])
        joe.sends("QUIT")
        other = self.client("joe", caps=CAPS)
        self.assertEqual(self.asked(other, "LATEST ann * 10"), [])
        self.assertEqual(self.asked(ann, "LATEST joe * 10"), [])

    def test_an_account_inherits_nothing(self) -> None:
        """An account that was dropped and registered anew by somebody else begins with an empty history."""
        ann, bob = self.account("ann"), self.account("bob")
        self.said(bob, "ann", "private")
        ann.asks("NS DROP password")
        ann.sends("QUIT")
        self.world.clock.advance(1)
        other = self.account("ann")
        self.assertEqual(self.asked(other, "LATEST bob * 10"), [])

    def test_targets(self) -> None:
        """TARGETS lists channels and conversations by their latest message, within its two moments."""
        ann, bob = self.account("ann"), self.account("bob")
        for client in (ann, bob):
            client.asks("JOIN #c", "JOIN #d")
        times = [
            parse(self.said(ann, target, "x")[0].encode()).tags["time"] for target in ("#c", "bob", "#d", "ann", "#c")
        ]
        early, late = "timestamp=2020-01-01T00:00:00.000Z", "timestamp=2262-01-01T00:00:00.000Z"

        def listed(question: str) -> list[str]:
            return [line.split(" TARGETS ")[1] for line in self.asked(ann, f"TARGETS {question}")]

        names = ["bob", "#d", "ann", "#c"]
        self.assertEqual(
            listed(f"{early} {late} 10"), [f"{name} {time}" for name, time in zip(names, times[1:], strict=True)]
        )
        self.assertEqual([each.split()[0] for each in listed(f"{early} {late} 2")], ["bob", "#d"])
        self.assertEqual([each.split()[0] for each in listed(f"{late} {early} 2")], ["ann", "#c"])
        self.assertEqual(
            [each.split()[0] for each in listed(f"timestamp={times[1]} timestamp={times[4]} 9")], ["#d", "ann"]
        )
        bob.asks("PART #c")
        self.assertEqual([line.split()[4] for line in self.asked(bob, f"TARGETS {early} {late} 10")], ["ann", "#d"])


class Events(HistoryTestCase):
    def test_playback(self) -> None:
        """With event-playback joins, modes, topics, nicks, quits, kicks and parts come back as they were seen."""
        ann, bob = self.on_channel("#c", "@ann", "bob", caps=EVENTS + " extended-join")
        self.world.clock.advance(1)
        watcher = self.client("watcher", caps=EVENTS + " extended-join")
        watcher.asks("JOIN #c")
        start = len(self.asked(watcher, "LATEST #c * 100"))
        eve = self.client("eve")
        for client, line in (
            (eve, "JOIN #c"),
            (ann, "MODE #c +k secret"),
            (ann, "MODE #c +b x!*@*"),
            (ann, "TOPIC #c :the topic"),
            (bob, "NICK robert"),
            (bob, "PRIVMSG #c :hello"),
            (eve, "PART #c :bye"),
            (ann, "KICK #c robert :out"),
        ):
            client.sends(line)
        seen = [line.split(" ", 1)[1] for line in watcher.lines()]
        joe = self.client("joe")
        joe.sends("JOIN #c secret", "QUIT :gone")
        seen += [line.split(" ", 1)[1] for line in watcher.lines()]
        played = [line.split(" ", 1)[1] for line in self.asked(watcher, "LATEST #c * 100")][start:]
        self.assertEqual([line.replace("+k secret", "+k *") for line in seen], played)
        self.assertEqual(len(played), 10)
        self.assertEqual([line.split()[1] for line in played].count("QUIT"), 1)

    def test_pages_with_departures(self) -> None:
        """Pages of events neither lose nor repeat what is between them."""
        ann, _ = self.on_channel("#c", "ann", "bob", caps=EVENTS)
        for number in range(6):
            guest = self.client(f"guest{number}")
            guest.sends("JOIN #c")
            self.said(ann, "#c", f"{number}")
            guest.sends("NICK other" if number % 2 else "QUIT :gone", f"NICK old{number}")
            self.world.clock.advance(1)
        whole = self.asked(ann, "LATEST #c * 100")
        self.assertIn("QUIT", commands(whole))
        self.assertIn("NICK", commands(whole))
        pages: list[str] = []
        before = "*"
        while page := self.asked(ann, f"{'LATEST' if before == '*' else 'BEFORE'} #c {before} 4"):
            pages[:0] = page
            before = f"msgid={msgids(page)[0]}"
        without = [line.split(";", 1)[1] for line in whole]
        self.assertEqual([line.split(";", 1)[1] for line in pages], without)
        after, forwards = f"msgid={msgids(whole)[0]}", whole[:1]
        while page := self.asked(ann, f"AFTER #c {after} 3"):
            forwards += page
            after = f"msgid={msgids(page)[-1]}"
        self.assertEqual([line.split(";", 1)[1] for line in forwards], without)

    def test_auditorium(self) -> None:
        """In an auditorium the past shows ordinary members no more than the present does."""
        ann, bob = self.on_channel("#c", "@ann", "bob", caps=EVENTS)
        ann.sends("MODE #c +u")
        self.client("eve").sends("JOIN #c", "PART #c")
        self.assertNotIn("JOIN", commands(self.asked(bob, "LATEST #c * 50")))
        self.assertIn("JOIN", commands(self.asked(ann, "LATEST #c * 50")))

    def test_op_moderated(self) -> None:
        """What only staff heard (+U) is in nobody's history."""
        ann, bob = self.on_channel("#c", "@ann", "bob", caps=CAPS)
        ann.asks("MODE #c +U")
        self.said(bob, "#c", "for staff")
        self.assertIn("for staff", texts(ann.lines()))
        self.said(ann, "#c", "for all")
        for client in (ann, bob):
            self.assertEqual(texts(self.asked(client, "LATEST #c * 50")), ["for all"])

    def test_tagmsg(self) -> None:
        """A reaction is played back to clients with event-playback, and to no others."""
        ann, bob = self.on_channel("#c", "@ann", "bob", caps=CAPS)
        eve = self.client("eve", caps=EVENTS)
        eve.sends("JOIN #c")
        ann.sends("@+draft/react=x;+draft/reply=y TAGMSG #c")
        self.assertNotIn("TAGMSG", commands(self.asked(bob, "LATEST #c * 50")))
        [line] = [line for line in self.asked(eve, "LATEST #c * 50") if " TAGMSG " in line]
        self.assertIn("+draft/react=x;+draft/reply=y", line)

    def test_multiline(self) -> None:
        """A message of several lines comes back as one, inside the batch of history; with its lines for the others."""
        caps = CAPS + " draft/multiline"
        ann, bob = self.client("ann", caps=caps), self.client("bob", caps=CAPS)
        for client in (ann, bob):
            client.sends("JOIN #c")
        ann.sends(
            "BATCH +1 draft/multiline #c",
            "@batch=1 PRIVMSG #c :one",
            "@batch=1 PRIVMSG #c :",
            "@batch=1 PRIVMSG #c :two",
            "BATCH -1",
        )
        [event] = self.events_of("message.privmsg")
        assert isinstance(event, Message)
        self.assertEqual(event.text, "one\n\ntwo")
        lines = self.asked(ann, "LATEST #c * 50")
        self.assertEqual(commands(lines), ["BATCH", "PRIVMSG", "PRIVMSG", "PRIVMSG", "BATCH"])
        tags = [parse(line.encode()).tags for line in lines]
        self.assertEqual({tag["batch"] for tag in tags[1:4]}, {parse(lines[0].encode()).params[0][1:]})
        self.assertEqual(tags[0]["batch"], tags[4]["batch"])
        self.assertEqual(texts(self.asked(bob, "LATEST #c * 50")), ["one", "two"])


REDACT = CAPS + " draft/message-redaction"


class Redaction(HistoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = self.on_channel("#c", "@ann", "bob", caps=REDACT)
        self.eve = self.client("eve", caps=CAPS)
        self.eve.sends("JOIN #c")
        [self.by_bob] = msgids(self.said(self.bob, "#c", "unspeakable"))
        self.ann.lines()
        self.eve.lines()

    def fails(self, client: FakeClient, line: str, code: str) -> None:
        rows = len(self.world.store.rows)
        [answer] = client.asks(line)
        self.assertIn(f" FAIL REDACT {code} ", answer)
        self.assertEqual(len(self.world.store.rows), rows)

    def test_author(self) -> None:
        """Who said something takes it back: those who know REDACT are told, the text is gone, the fact stays."""
        [line] = self.bob.asks(f"@label=x REDACT #c {self.by_bob} :my mistake")
        self.assertTrue(line.startswith("@label=x;"), line)
        self.assertTrue(line.endswith(f":bob!~bob@192.0.2.1 REDACT #c {self.by_bob} :my mistake"), line)
        self.assertEqual(commands(self.ann.lines()), ["REDACT"])
        self.assertEqual(self.eve.lines(), [])
        self.assertEqual(texts(self.asked(self.ann, "LATEST #c * 10")), [])
        self.assertNotIn("unspeakable", repr(self.world.store.rows))
        [said] = self.events_of("message.privmsg")
        assert isinstance(said, Message)
        self.assertEqual((said.nick, said.text, said.redacted_by), ("bob", "", "bob"))
        self.fails(self.bob, f"REDACT #c {self.by_bob}", "UNKNOWN_MSGID")

    def test_before_its_commit(self) -> None:
        """A message that is not committed yet is taken back as soon as it is: its text is never in the log."""
        self.world.store.automatic = False
        self.bob.sends("PRIVMSG #c :another")
        row_id = self.world.server.bus._unwritten[-1].stamp.id
        self.bob.sends(f"REDACT #c {row_id:x}-run-0")
        self.world.store.commit()
        self.world.store.commit()
        self.assertIn("REDACT", commands(self.ann.lines()))
        self.assertNotIn("another", repr(self.world.store.rows))

    def test_who_may_not(self) -> None:
        """Nobody takes back what others said, but the operators of the channel and the network's with the privilege."""
        joe = self.client("joe", caps=REDACT)
        self.fails(joe, f"REDACT #c {self.by_bob}", "INVALID_TARGET")
        joe.asks("JOIN #c")
        self.fails(joe, f"REDACT #c {self.by_bob}", "REDACT_FORBIDDEN")
        self.fails(joe, "REDACT #c 1-run-0", "UNKNOWN_MSGID")
        self.fails(joe, "REDACT #c nonsense", "UNKNOWN_MSGID")
        self.fails(joe, f"REDACT bob {self.by_bob}", "UNKNOWN_MSGID")
        self.fails(joe, f"REDACT nobody {self.by_bob}", "INVALID_TARGET")
        self.assertRefused(self.eve, f"REDACT #c {self.by_bob}", "421")
        joe.asks("OPER root sesame")
        self.assertEqual(commands(joe.asks(f"REDACT #c {self.by_bob}")), ["REDACT"])

    def test_a_leaver_may_not(self) -> None:
        """Who has left a channel takes nothing of it back."""
        self.bob.asks("PART #c")
        self.fails(self.bob, f"REDACT #c {self.by_bob}", "INVALID_TARGET")

    def test_window(self) -> None:
        """The author has a while, an operator of the channel all the time."""
        self.world.clock.advance(86_402)
        self.fails(self.bob, f"REDACT #c {self.by_bob}", "REDACT_WINDOW_EXPIRED")
        self.ann.lines()
        self.assertEqual(commands(self.ann.asks(f"REDACT #c {self.by_bob} :old")), ["REDACT"])

    def test_direct(self) -> None:
        """In a conversation only the author takes something back, and both sides are told."""
        [msgid] = msgids(self.said(self.ann, "bob", "private"))
        self.bob.lines()
        self.fails(self.bob, f"REDACT ann {msgid}", "REDACT_FORBIDDEN")
        self.fails(self.ann, f"REDACT eve {msgid}", "UNKNOWN_MSGID")
        self.assertEqual(commands(self.ann.asks(f"REDACT bob {msgid}")), ["REDACT"])
        self.assertEqual(commands(self.bob.lines()), ["REDACT"])
        self.assertNotIn("private", repr(self.world.store.rows))

    def test_refused_while_the_log_is_down(self) -> None:
        """What cannot be written is not taken back."""
        self.world.store.fail("disk full")
        [line] = self.bob.asks(f"REDACT #c {self.by_bob}")
        self.assertIn("TEMPORARILY_UNAVAILABLE", line)
        self.world.store.recover()
        self.assertIn("unspeakable", repr(self.world.store.rows))


MARKER = "draft/read-marker"


class ReadMarkers(HistoryTestCase):
    def test_a_marker_only_goes_forward(self) -> None:
        """A marker is kept in the log for an account, and never goes back, nor into the future."""
        ann = self.account("ann", caps=MARKER)
        early, late = "timestamp=2020-01-01T00:00:00.000Z", "timestamp=2021-01-01T00:00:00.000Z"
        self.assertEqual(ann.asks("MARKREAD #c"), [":irc.test MARKREAD #c *"])
        self.assertEqual(ann.asks(f"MARKREAD #c {late}"), [f":irc.test MARKREAD #c {late}"])
        self.assertEqual(ann.asks(f"MARKREAD #C {early}"), [f":irc.test MARKREAD #C {late}"])
        self.assertEqual(len(self.events_of("account.read_marker")), 1)
        self.assertIn("timestamp=2025-", ann.asks("MARKREAD #c timestamp=2099-01-01T00:00:00.000Z")[0])

    def test_it_reaches_all_clients_of_the_account(self) -> None:
        """Every client of the account hears of it, nobody else does, and it survives a restart."""
        ann, other = self.account("ann", caps=MARKER), self.client("other", caps=MARKER)
        other.asks("NS IDENTIFY ann password")
        eve = self.client("eve", caps=MARKER)
        moment = "timestamp=2020-01-01T00:00:00.000Z"
        ann.asks(f"MARKREAD eve {moment}")
        self.assertEqual(other.lines(), [f":irc.test MARKREAD eve {moment}"])
        self.assertEqual(eve.lines(), [])
        self.world = self.world.restart()
        ann = self.account("ann", caps=MARKER)
        self.assertEqual(ann.asks("MARKREAD EVE"), [f":irc.test MARKREAD EVE {moment}"])

    def test_joining_shows_it(self) -> None:
        """It stands between JOIN and the end of NAMES; without an account it lasts as long as the connection."""
        ann = self.client("ann", caps=MARKER)
        self.assertEqual(commands(ann.asks("JOIN #c")), ["JOIN", "MARKREAD", "353", "366"])
        ann.asks("MARKREAD #c timestamp=2020-01-01T00:00:00.000Z", "PART #c")
        self.assertIn(":irc.test MARKREAD #c timestamp=2020-01-01T00:00:00.000Z", ann.asks("JOIN #c"))
        self.assertEqual(self.events_of("account.read_marker"), [])

    def test_it_follows_a_rename(self) -> None:
        """How far somebody has read a channel is so under its new name; a new channel of the old one is unread."""
        caps, moment = f"{MARKER} draft/channel-rename", "timestamp=2020-01-01T00:00:00.000Z"
        ann, joe, bob = self.account("ann", caps=caps), self.client("joe", caps=caps), self.client("bob", caps=MARKER)
        for client in (ann, joe, bob):
            client.asks("JOIN #c", f"MARKREAD #c {moment}")
        joe.asks("MARKREAD #d timestamp=2021-01-01T00:00:00.000Z")
        for client in (ann, joe, bob):
            client.lines()
        ann.sends("RENAME #c #d")
        self.assertEqual([line.split(" ", 1)[1] for line in ann.lines()][-1], f"MARKREAD #d {moment}")
        self.assertIn(f":irc.test MARKREAD #d {moment}", bob.lines())
        self.assertEqual(joe.asks("MARKREAD #d"), [":irc.test MARKREAD #d timestamp=2021-01-01T00:00:00.000Z"])
        for client in (ann, joe, bob):
            self.assertEqual(client.asks("MARKREAD #c"), [":irc.test MARKREAD #c *"])

    def test_bad_markers(self) -> None:
        """What is no marker is refused in the draft's words."""
        ann = self.client("ann", caps=MARKER)
        for line, code in {
            "MARKREAD": "NEED_MORE_PARAMS",
            "MARKREAD #c *": "INVALID_PARAMS",
            "MARKREAD #c timestamp=x": "INVALID_PARAMS",
            "MARKREAD #c msgid=x": "INVALID_PARAMS",
            "MARKREAD ***": "INVALID_PARAMS",
        }.items():
            self.assertIn(f"FAIL MARKREAD {code}", ann.asks(line)[0])
        self.assertRefused(self.client("bob"), "MARKREAD #c", "421")

    def test_an_account_has_not_endlessly_many(self) -> None:
        """The marker of what was read longest ago makes room."""
        ann = self.account("ann", caps=MARKER)
        for number in range(505):
            ann.sends(f"MARKREAD #c{number} timestamp=2020-01-01T00:{number // 60:02d}:{number % 60:02d}.000Z")
        markers = self.world.state.accounts["ann"].read_markers
        self.assertEqual(len(markers), 500)
        self.assertNotIn("#c0", markers)
        self.assertIn("#c504", markers)


def test_history_survives_a_crash() -> None:
    """What was seen is found after a crash; an id that a lost message had leads to no other one."""
    world = World(config=make_config(HISTORY), store=MemoryStore(seconds=lambda: 0.0, automatic=True))
    ann = world.client("ann", caps=CAPS)
    ann.sends("NS REGISTER password", "JOIN #c", "CS REGISTER #c", "PRIVMSG #c :kept")
    world.store.automatic = False
    ann.sends("PRIVMSG #c :lost")
    after = world.restart(crash=True)
    after.store.automatic = True
    after.store.commit()
    ann = after.client("ann", caps=CAPS)
    ann.sends("JOIN #c")
    assert texts(ann.asks("CHATHISTORY LATEST #c * 10")) == ["kept"]
