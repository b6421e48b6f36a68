"""Stories and the search: everything is found, in bounded steps, and no key is told."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import true

from slircd.admin import scan
from slircd.admin.scan import newest_first
from slircd.events.reader import LogReader
from slircd.events.schema import EVENTS
from tests.admin.harness import ADMIN, AdminTestCase
from tests.admin.test_timeline import START, make_log


class Stories(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = self.on_channel("#Ops", "@ann", "bob")
        self.ann.sends("MODE #ops +k secret", "TOPIC #ops :first")
        self.ann.sends("KICK #ops bob :bye")
        self.bob_uid = self.bob.uid
        self.bob.sends("NICK bert", "JOIN #ops secret", "QUIT :later")

    def types(self, path: str) -> list[str]:
        return [event["event_type"] for event in self.ask(path, ADMIN).json["events"]]

    def test_of_a_channel(self) -> None:
        """All that has the channel as its target, newest first, and those who disconnected on it; keys are masked."""
        types = self.types(f"/admin/story?kind=channel&key={quote('#OPS')}")
        self.assertEqual(types[:3], ["user.disconnect", "channel.join", "channel.kick"])
        self.assertEqual(types[-1], "channel.create")
        self.assertNotIn(b"secret", self.ask(f"/admin/story?kind=channel&key={quote('#ops')}").body)

    def test_of_a_user(self) -> None:
        """What a user did and what was done to it, under any nick."""
        types = self.types(f"/admin/story?kind=user&key={self.bob_uid}")
        self.assertEqual(types[0], "user.disconnect")
        self.assertIn("channel.kick", types)
        self.assertIn("user.nick_change", types)
        self.assertEqual(types[-1], "user.connect")
        self.assertNotIn("channel.topic_change", types)
        self.assertIn("channel.topic_change", self.types(f"/admin/story?kind=user&key={self.ann.uid}"))
        self.assertEqual(self.types("/admin/story?kind=user&key=001ZZZZZZ"), [])

    def test_of_an_account(self) -> None:
        """What happened to an account, and who logged in to it."""
        self.ann.sends("NS REGISTER correct-horse ann@example.org", "NS LOGOUT")
        types = self.types("/admin/story?kind=account&key=Ann")
        self.assertIn("services.nick_register", types)
        self.assertIn("user.account", types)

    def test_pages(self) -> None:
        """`before` goes on where a page ended, until nothing is left; `until` begins in the past."""
        path = f"/admin/story?kind=channel&key={quote('#ops')}&limit=2"
        found = self.ask(path).json
        ids = [event["id"] for event in found["events"]]
        while found["before"] is not None:
            found = self.ask(f"{path}&before={found['before']}").json
            ids += [event["id"] for event in found["events"]]
        self.assertEqual(ids, sorted(set(ids), reverse=True))
        self.assertEqual(len(ids), len(self.types(f"/admin/story?kind=channel&key={quote('#ops')}")))
        first = self.world.store.rows[0].timestamp
        self.assertEqual(
            self.types(f"/admin/story?kind=channel&key=%23ops&until={first}&limit=1")[:1], self.types(path)[:1]
        )
        self.assertEqual(self.types("/admin/story?kind=channel&key=%23ops&until=2020-01-01"), [])

    def test_wrong_questions(self) -> None:
        """Refused with the parameter's name."""
        for path in ("/admin/story", "/admin/story?kind=channel", "/admin/story?kind=server&key=x"):
            self.assertEqual(self.ask(path).status, 400)
        self.assertEqual(self.ask("/admin/story?kind=channel&key=x", None).status, 401)


class Searches(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = self.on_channel("#Ops", "@ann", "bobby")
        self.ann.sends('TOPIC #ops :say "cheese" 100%')
        self.bob.sends("NICK bert", "QUIT")

    def hits(self, word: str, **more: str) -> list[tuple[str, str, str, bool]]:
        query = "&".join(f"{name}={quote(value)}" for name, value in {"q": word, **more}.items())
        found = self.ask(f"/admin/search?{query}").json
        return [(hit["kind"], hit["name"], hit["matched"], hit.get("now", False)) for hit in found["hits"]]

    def test_now(self) -> None:
        """Nicks, channels, topics, hosts and addresses of what is there."""
        self.assertIn(("user", "ann", "nick", True), self.hits("ANN"))
        self.assertIn(("channel", "#Ops", "name", True), self.hits("ops"))
        self.assertIn(("channel", "#Ops", "topic", True), self.hits('"cheese" 100%'))
        self.assertIn(("user", "ann", "host", True), self.hits("192.0.2"))

    def test_the_past(self) -> None:
        """Who is gone is found, too: by any nick that it had; and channels that have ended."""
        self.assertEqual(self.hits("bobb"), [("user", "bert", "nick before", False)])
        self.assertEqual(self.hits("bert"), [("user", "bert", "nick", False)])
        self.ann.sends("PART #ops")
        self.assertEqual(self.hits("#ops"), [("channel", "#ops", "name", False)])
        self.assertEqual([hit[:2] for hit in self.hits("real bobby")], [("user", "bobby")])

    def test_accounts(self) -> None:
        """Accounts that are there, and those that were dropped."""
        self.ann.sends("NS REGISTER correct-horse ann@example.org")
        self.assertIn(("account", "ann", "account", True), self.hits("ann"))

    def test_types(self) -> None:
        """Types of events."""
        self.assertIn(("type", "channel.topic_change", "type", False), self.hits("topic"))

    def test_wildcards_mean_themselves(self) -> None:
        """% and _ are no wildcards, quotation marks and backslashes no trouble."""
        for word in ("%%", "__", '""', "\\\\", "' OR 1=1 --", "a" * 200):
            self.assertEqual(self.hits(word), [])

    def test_wrong_questions(self) -> None:
        """Too short, too long, or not allowed."""
        self.assertEqual(self.ask("/admin/search?q=a").status, 400)
        self.assertEqual(self.ask(f"/admin/search?q={'a' * 201}").status, 400)
        self.assertEqual(self.ask("/admin/search").status, 400)
        self.assertEqual(self.ask("/admin/search?q=ann", None).status, 401)


def test_a_scan_stops_when_its_time_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says below which id to go on; going on finds all of it, nothing twice."""
    monkeypatch.setattr(scan, "FIRST_SPAN", 100)
    monkeypatch.setattr(scan, "LAST_SPAN", 100)
    rows = make_log(tmp_path / "log.db", [START + index for index in range(3000)])
    wanted = EVENTS.c.event_type == "oper.kline"
    with LogReader(str(tmp_path / "log.db")) as reader:
        found, rest = newest_first(reader, wanted, before=3001, limit=1000, budget_s=0.0)
        assert (found, rest) == ([], 3001)
        ids: list[int] = []
        rest = 3001
        while rest is not None:
            found, rest = newest_first(reader, wanted, before=rest, limit=7)
            assert len(found) <= 7
            ids += [row.id for row in found]
        assert ids == [row.id for row in reversed(rows) if row.event_type == "oper.kline"]
        assert newest_first(reader, true(), before=11, after=5, limit=100).rows[-1].id == 6
        assert newest_first(reader, true(), before=1, limit=100) == ([], None)
