"""Webhooks: events posted to others, signed, in order, each at least once.

A webhook is a follower of the feed whose cursor is kept in the database.  What could not be delivered is tried again
for as long as it takes, ever more slowly, and after a restart from where it had come; so the other side may get a
batch twice, never in another order, and never with a gap.  It can be told apart by `X-Slircd-Delivery`, which is the
same for every try of the same batch.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgspec
import txaio
from sqlalchemy.exc import SQLAlchemyError
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred

from slircd.about import version
from slircd.admin.errors import HTTPError
from slircd.admin.feed import Feed, Filter, Told
from slircd.admin.query import EventTypes
from slircd.events.clock import format_timestamp
from slircd.security.outgoing import Outgoing, OutgoingError
from slircd.wire.formatting import strip_formatting

if TYPE_CHECKING:
    from slircd.admin.tables import SideTables
    from slircd.config.sections import Webhook as WebhookSection

txaio.use_twisted()
log = txaio.make_logger()

FIRST_RETRY_S: Final = 1.0
LAST_RETRY_S: Final = 300.0
IDLE_S: Final = 60.0
"""How often a cursor is kept while nothing is wanted of what happens."""

MAX_ANSWER_BYTES: Final = 65_536
MAX_TEXT: Final = {"events": 16_000, "chat": 3500, "discord": 1900}
"""Characters of the words for people in one request, which chats limit."""


class Undelivered(Exception):
    """The other side did not take it; the text says why."""


def signature(secret: bytes, seconds: int, body: bytes) -> str:
    """The header X-Slircd-Signature: HMAC-SHA256 over `TIME.BODY`, so that nobody can send an old one again."""
    digest = hmac.new(secret, b"%d." % seconds + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def texts(events: Iterable[Any]) -> list[str]:
    """What happened in words, a line for each event that has any."""
    found: list[str] = []
    for event in events:
        words = event["text"] or f"{event['event_type']} {event['target'] or ''}".rstrip()
        found.append(strip_formatting(words).replace("\n", " "))
    return found


def body_of(kind: str, name: str, server: str, documents: Sequence[bytes]) -> bytes:
    """What is posted."""
    raw = [msgspec.Raw(document) for document in documents]
    text = "\n".join(texts(msgspec.json.decode(document) for document in documents))[: MAX_TEXT[kind]]
    if kind == "chat":
        # What looks like markup must not call everybody (Slack and Mattermost: <!channel>).
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return msgspec.json.encode({"text": escaped})
    if kind == "discord":
        return msgspec.json.encode({"content": text, "allowed_mentions": {"parse": []}})
    return msgspec.json.encode({"webhook": name, "server": server, "text": text, "events": raw})


def batches(found: Sequence[Told], most: int, kind: str) -> Iterator[list[Told]]:
    """Events in batches of at most so many, whose words fit into one message."""
    batch: list[Told] = []
    length = 0
    for each in found:
        words = len(texts([msgspec.json.decode(each.document)])[0]) + 1
        if batch and (len(batch) >= most or length + words > MAX_TEXT[kind]):
            yield batch
            batch, length = [], 0
        batch.append(each)
        length += words
    if batch:
        yield batch


class Webhook(Service):
    """One webhook.  `delivered` and `failed` count requests; `cursor` is the sequence up to which all is delivered."""

    def __init__(
        self,
        section: WebhookSection,
        secret: bytes,
        client: Outgoing,
        feed: Feed,
        tables: SideTables,
        *,
        reactor: Any,
        epoch_s: Callable[[], float],
        rng: Random,
        run: Callable[..., Deferred[Any]],
        server: str,
        messages: bool,
    ) -> None:
        self.setName(section.name)
        self.section = section
        self.delivered = 0
        self.failed = 0
        self.cursor = 0
        self.secret = secret
        self._client = client
        self._feed = feed
        self._tables = tables
        self._reactor = reactor
        self._epoch_s = epoch_s
        self._rng = rng
        self._run_in_thread = run
        self._server = server
        types = frozenset(EventTypes(",".join(section.types)).names) if section.types else None
        self._wanted = Filter(types, section.target or None, section.actor or None, messages)
        self._running: Deferred[None] | None = None

    @property
    def lag(self) -> int:
        """How many sequences of the log it is behind."""
        return max(self._feed.head - self.cursor, 0)

    def startService(self) -> None:
        """Begin where it had come."""
        super().startService()
        self._running = ensureDeferred(self._run())
        self._running.addErrback(self._ended)

    def stopService(self) -> None:
        """Stop; what is on its way may be delivered again."""
        super().stopService()
        if self._running is not None:
            self._running.cancel()
            self._running = None

    def _ended(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            log.failure("the webhook {name} stopped", failure=failure, name=self.name)

    async def _run(self) -> None:
        kept = await self._in_table(self._tables.cursor, self.section.name)
        follower = self._feed.follow(self._wanted, kept)
        self.cursor = follower.cursor
        try:
            if kept is None:
                await self._keep(follower.cursor)
            while True:
                try:
                    found = await follower.take(IDLE_S)
                except HTTPError as error:  # the log cannot be read just now
                    log.warn("webhook {name}: {why}", name=self.name, why=str(error))
                    await self._sleep(10 * FIRST_RETRY_S)
                    continue
                for batch in batches(found, self.section.batch, self.section.format):
                    await self._deliver(batch)
                    await self._keep(batch[-1].sequence)
                if follower.cursor > self.cursor:
                    # Nothing of what came since was wanted: that need not be looked at again.
                    await self._keep(follower.cursor)
        finally:
            follower.close()

    async def _keep(self, sequence: int) -> None:
        now = format_timestamp(self._epoch_s())
        await self._in_table(self._tables.set_cursor, self.section.name, sequence, now)
        self.cursor = sequence

    async def _in_table(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call in a thread, again and again while the database cannot be used."""
        delay = FIRST_RETRY_S
        while True:
            try:
                return await self._run_in_thread(function, *arguments)
            except SQLAlchemyError as error:
                log.warn("webhook {name}: its cursor cannot be kept: {why}", name=self.name, why=error)
            await self._sleep(delay)
            delay = min(2 * delay, LAST_RETRY_S)

    async def _deliver(self, batch: Sequence[Told]) -> None:
        section = self.section
        body = body_of(section.format, section.name, self._server, [each.document for each in batch])
        delivery = f"{section.name}-{batch[0].sequence}-{batch[-1].sequence}"
        delay = FIRST_RETRY_S
        attempt = 1
        while True:
            try:
                await self._post(body, delivery, attempt)
            except (OutgoingError, Undelivered) as error:
                self.failed += 1
                (log.warn if attempt in (1, 5) else log.debug)(
                    "webhook {name}: {delivery} is not delivered (try {attempt}): {why}",
                    name=section.name,
                    delivery=delivery,
                    attempt=attempt,
                    why=str(error),
                )
            else:
                self.delivered += 1
                if attempt > 1:
                    log.info("webhook {name}: {delivery} is delivered", name=section.name, delivery=delivery)
                return
            await self._sleep(delay * self._rng.uniform(0.8, 1.2))
            delay = min(2 * delay, LAST_RETRY_S)
            attempt += 1

    async def _post(self, body: bytes, delivery: str, attempt: int) -> None:
        seconds = int(self._epoch_s())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"slircd/{version()}",
            "X-Slircd-Delivery": delivery,
            "X-Slircd-Attempt": str(attempt),
        }
        if self.secret:
            headers["X-Slircd-Signature"] = signature(self.secret, seconds, body)
        answer = await self._client.request(
            "POST",
            self.section.url,
            headers=headers,
            body=body,
            timeout_s=self.section.timeout_s,
            max_bytes=MAX_ANSWER_BYTES,
        )
        if not 200 <= answer.status < 300:
            moved = ", and redirects are not followed" if 300 <= answer.status < 400 else ""
            raise Undelivered(f"the answer is {answer.status}{moved}")

    async def _sleep(self, seconds: float) -> None:
        timer: Any = None
        waiting: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self._reactor.callLater(seconds, waiting.callback, None)
        await waiting


def read_secret(section: WebhookSection) -> bytes:
    """The secret that signs; raises OSError.  Empty where there is no file, for chats, which check none."""
    return Path(section.secret_file).read_bytes().strip() if section.secret_file else b""
