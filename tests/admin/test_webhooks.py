"""Webhooks: in order, each event at least once, signed, whatever the other side does."""

from __future__ import annotations

import hashlib
import hmac
import json
from random import Random
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed

from slircd.admin.feed import Told
from slircd.admin.webhooks import Webhook, batches, body_of, signature
from slircd.config.load import ConfigError, parse
from slircd.config.sections import Webhook as Section
from slircd.security.outgoing import Answer, OutgoingError
from tests.admin.harness import AdminTestCase

SECRET = b"0123456789abcdef"


class FarEnd:
    """The other side: answers what it is told to, and remembers what it took."""

    def __init__(self) -> None:
        self.answers: list[int | Exception] = []
        self.tries: list[dict[str, Any]] = []
        self.taken: list[dict[str, Any]] = []
        self.silent = False

    def request(self, method: str, url: str, **options: Any) -> Deferred[Answer]:
        self.tries.append({"url": url, **options})
        if self.silent:
            return Deferred()
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            return fail(answer)
        if answer == 200:
            self.taken.append(json.loads(options["body"]))
        return succeed(Answer(answer, {}, b""))

    @property
    def sequences(self) -> list[int]:
        return [event["sequence"] for body in self.taken for event in body["events"]]


class Posting(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.far = FarEnd()
        self.hooks: list[Webhook] = []

    def tearDown(self) -> None:
        for hook in self.hooks:
            hook.stopService()
        super().tearDown()

    def start(self, **keys: Any) -> Webhook:
        hook = Webhook(
            Section(name="staff", url="https://hooks.test/", secret_file="x", **keys),
            SECRET,
            self.far,  # type: ignore[arg-type]
            self.backend.feed,
            self.tables,
            reactor=self.world.clock,
            epoch_s=self.world.clock.seconds,
            rng=Random(0),
            run=maybeDeferred,
            server="irc.test",
            messages=False,
        )
        hook.startService()
        self.hooks.append(hook)
        return hook

    def wait(self, seconds: float = 1.0) -> None:
        for _ in range(int(seconds * 10)):
            self.world.clock.advance(0.1)

    def test_events_are_posted(self) -> None:
        """From now on, with their words, signed; the cursor is kept."""
        ann = self.client("ann")
        self.start()
        ann.sends("JOIN #a", "MODE #a +k secret")
        self.wait()
        self.assertEqual(self.far.sequences, [row.sequence for row in self.world.store.rows[-3:]])
        self.assertNotIn("secret", json.dumps(self.far.taken))
        self.assertIn("ann joined #a", self.far.taken[0]["text"] + self.far.taken[-1]["text"])
        first = self.far.tries[0]
        time, _, digest = first["headers"]["X-Slircd-Signature"].partition(",")
        signed = time.removeprefix("t=").encode() + b"." + first["body"]
        self.assertEqual(digest, "v1=" + hmac.new(SECRET, signed, hashlib.sha256).hexdigest())
        self.assertEqual(self.tables.cursor("staff"), self.world.store.rows[-1].sequence)

    def test_failures_are_tried_again(self) -> None:
        """Ever more slowly, the same batch, and nothing overtakes it."""
        ann = self.client("ann")
        hook = self.start()
        self.far.answers = [500, OutgoingError("no answer"), 302, 404]
        ann.sends("JOIN #a")
        self.wait(0.5)
        ann.sends("JOIN #b")
        self.wait(0.5)
        self.assertEqual(self.far.taken, [])
        self.wait(30)
        self.assertEqual(self.far.sequences, [row.sequence for row in self.world.store.rows[-4:]])
        self.assertEqual(len({each["headers"]["X-Slircd-Delivery"] for each in self.far.tries[:5]}), 1)
        self.assertEqual([each["headers"]["X-Slircd-Attempt"] for each in self.far.tries[:5]], list("12345"))
        self.assertEqual((hook.failed, hook.lag), (4, 0))

    def test_after_a_restart(self) -> None:
        """It goes on where it had come: what was on its way comes again, what happened meanwhile comes, too."""
        ann = self.client("ann")
        first = self.start()
        ann.sends("JOIN #a")
        self.wait()
        done = len(self.far.sequences)
        self.far.silent = True
        ann.sends("JOIN #b")
        self.wait()
        first.stopService()
        self.hooks.clear()
        ann.sends("JOIN #c")
        self.far.silent = False
        self.start()
        self.wait()
        self.assertEqual(self.far.sequences, [row.sequence for row in self.world.store.rows[-6:]])
        self.assertEqual(done, 2)

    def test_only_what_is_wanted(self) -> None:
        """Families of types, a target; the cursor passes over the rest."""
        ann = self.client("ann")
        self.start(types=["channel.*"], target="#a")
        ann.sends("JOIN #a,#b", "NICK anna")
        self.wait(61)
        events = [event for body in self.far.taken for event in body["events"]]
        self.assertEqual({event["target"] for event in events}, {"#a"})
        self.assertEqual(self.tables.cursor("staff"), self.world.store.rows[-1].sequence)

    def test_a_slow_other_side(self) -> None:
        """It holds up nobody, and what waits for it waits in the log."""
        ann = self.client("ann")
        hook = self.start(batch=2)
        self.far.silent = True
        for number in range(12):
            ann.sends(f"JOIN #c{number}")
        self.assertEqual(len(self.far.tries), 1)
        self.assertGreater(hook.lag, 20)
        self.assertIn("slircd_webhook_lag_events", self._metrics(hook))

    def _metrics(self, hook: Webhook) -> str:
        self.metrics.watch_feed(self.backend.feed, lambda: [hook])
        return self.ask("/metrics").body.decode()


def told(sequence: int, text: str) -> Told:
    document = {"event_type": "channel.kick", "target": "#a", "text": text, "sequence": sequence}
    return Told(sequence, "channel.kick", json.dumps(document).encode())


def test_signature() -> None:
    """The time is signed, so an old request cannot be sent again."""
    assert signature(b"k", 1, b"x") != signature(b"k", 2, b"x")


def test_chats() -> None:
    """Words only; colours are taken off, and nobody is called by what somebody wrote."""
    document = told(1, "ann kicked \x02bob\x02: <!channel> @everyone").document
    assert json.loads(body_of("chat", "w", "irc.test", [document])) == {
        "text": "ann kicked bob: &lt;!channel&gt; @everyone"
    }
    discord = json.loads(body_of("discord", "w", "irc.test", [document]))
    assert discord["allowed_mentions"] == {"parse": []}
    assert discord["content"].startswith("ann kicked bob")


def test_batches() -> None:
    """So many events at most, and no more words than a chat takes."""
    events = [told(number, "x" * 1000) for number in range(5)]
    assert [len(batch) for batch in batches(events, 2, "events")] == [2, 2, 1]
    assert [len(batch) for batch in batches(events, 100, "discord")] == [1] * 5
    assert [each.sequence for batch in batches(events, 3, "chat") for each in batch] == list(range(5))


@pytest.mark.parametrize(
    ("hook", "key"),
    [
        ({"url": "ftp://x", "secret_file": "s"}, "webhooks[0].url"),
        ({"url": "https://x/"}, "webhooks[0].secret_file"),
        ({"url": "https://x/", "secret_file": "s", "types": ["nosuch.*"]}, "webhooks[0].types"),
    ],
)
def test_configuration(hook: dict[str, Any], key: str) -> None:
    """What is wrong is said with file, key, what was found and what is allowed."""
    with pytest.raises(ConfigError, match=key.replace("[", r"\[").replace("]", r"\]")):
        parse({"webhooks": [hook]}, "slircd.toml")


def test_names_are_unique() -> None:
    """Two of one name would share a cursor."""
    hook = {"url": "https://x/", "secret_file": "s"}
    with pytest.raises(ConfigError, match="no other webhook"):
        parse({"webhooks": [hook, hook]}, "slircd.toml")
