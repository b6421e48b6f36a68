"""Real addresses of long ago become pseudonyms: keyed, so that the same address is the same pseudonym for ever.

What is old is rewritten, wherever an address stands in it: in the fields for it, in masks, in reasons.  An address
that the state of now still has, because somebody is connected from it or a ban names it, is left everywhere until it is
gone; and so is one that a mask of younger events names, because a ban and its end have to name the same.  So the state
of now is not changed by this, and it needs nothing from the server.

Masks of one target are rewritten in one transaction, those that the base has together with the base: at no moment is a
ban set under one name and taken off under another.
"""

from __future__ import annotations

import base64
import hmac
import re
import time
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, update

from slircd.events import checkpoints
from slircd.events.clock import format_timestamp
from slircd.events.codec import decode_event
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.events.schema import CHECKPOINTS
from slircd.retention.database import Workplace
from slircd.retention.fields import Kind
from slircd.retention.keeper import Base
from slircd.retention.prune import Progress, last_id_before, quiet
from slircd.retention.redact import (
    ABOUT_PEOPLE,
    Redacted,
    remake,
    rewrite_ids,
    rewrite_rows,
    rewritten,
    rewritten_base,
    state_at_end,
)
from slircd.retention.rewrite import rewrite_event, rewrite_state
from slircd.retention.rules import DAY_S
from slircd.state.feed import without_gc
from slircd.state.snapshot import to_snapshot

PREFIX: Final = "addr-"
LENGTH: Final = 16
"""Characters of a pseudonym behind its prefix: 80 bits."""

_TOKEN: Final = re.compile(
    r"(?<![\w.:-])(?:"
    r"\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?"  # IPv4, or a network
    r"|(?:[0-9A-Fa-f]{0,4}:){2,7}(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{1,4}|:)?(?:/\d{1,3})?"  # IPv6, or a network
    r"|[0-9A-Za-z][0-9A-Za-z-]*(?:\.[0-9A-Za-z-]+)+"  # a host name
    r")(?![\w-])(?!\.\w)",
    re.ASCII,
)


class Pseudonyms:
    """The Rewriter: addresses, and host names that addresses had, to pseudonyms."""

    def __init__(self, key: bytes, hosts: Iterable[str], protected: Iterable[str]) -> None:
        """`hosts` are real host names, in lower case; `protected` stays, whatever it is."""
        self._key = key
        self._hosts = frozenset(hosts)
        self._protected = frozenset(protected)
        self.used: set[str] = set()
        """What was replaced, in lower case."""

    def concerns(self, row: Row) -> bool:
        """Whether a row may have to be rewritten."""
        return any(
            self._is_meant(match[0]) for text in (row.payload, row.target or "") for match in _TOKEN.finditer(text)
        )

    def is_mine(self, uid: str) -> bool:
        """Nobody is meant."""
        return False

    def is_author(self, source: str) -> bool:
        """Nobody is meant."""
        return False

    def text(self, kind: Kind, value: str, mine: bool) -> str:
        """The text with pseudonyms in the place of addresses."""
        return _TOKEN.sub(lambda match: self._pseudonym(match[0]), value)

    def _is_meant(self, token: str) -> bool:
        token = _without_colon(token.lower())
        return token not in self._protected and (token in self._hosts or is_real_address(token))

    def _pseudonym(self, token: str) -> str:
        if not self._is_meant(token):
            return token
        address = _without_colon(token)
        self.used.add(address.lower())
        mac = hmac.digest(self._key, address.lower().encode(), "sha256")
        return PREFIX + base64.b32encode(mac).decode().lower()[:LENGTH] + token[len(address) :]


class Collector:
    """A Rewriter that changes nothing, and notes every address and host name that it is shown."""

    def __init__(self) -> None:
        self.tokens: set[str] = set()

    def is_mine(self, uid: str) -> bool:
        """Nobody is meant."""
        return False

    def is_author(self, source: str) -> bool:
        """Nobody is meant."""
        return False

    def text(self, kind: Kind, value: str, mine: bool) -> str:
        """The same text."""
        self.tokens.update(_without_colon(match[0].lower()) for match in _TOKEN.finditer(value))
        return value


def _without_colon(token: str) -> str:
    """An address without the colon of the sentence that it stands in."""
    return token[:-1] if token.endswith(":") and not token.endswith("::") else token


def is_real_address(token: str) -> bool:
    """Whether a text is the address, or a network, of somebody: not of this machine, and not of everybody."""
    try:
        if "/" in token:
            network = ip_network(token, strict=False)
            return network.prefixlen > 0 and not network.is_loopback
        address = ip_address(token)
    except ValueError:
        return False
    return not address.is_loopback and not address.is_unspecified


def pseudonymise(place: Workplace, days: int, key: bytes, *, now_s: float, progress: Progress = quiet) -> Redacted:
    """Give the addresses in events that are older than `days` pseudonyms; how many events changed.

    `now_s` are seconds since the epoch.  Raises Damaged, DamagedBase.
    """
    with place.reading() as connection:
        cutoff = last_id_before(connection, format_timestamp(now_s - days * DAY_S))
    if not cutoff:
        return Redacted(0, {}, 0)
    rewriter = _rewriter(place, key, cutoff, progress)
    groups = _groups(place, rewriter, cutoff, progress)
    base = _base(place, rewriter, cutoff)
    if not rewriter.used:
        return Redacted(0, {}, 0)
    stale = _stale(place, rewriter.used)
    masks = _rewrite_masks(place, rewriter, base, groups, stale, progress)
    others = rewrite_rows(place, rewriter, cutoff, progress)
    remake(place, stale, progress)
    return Redacted(masks + others, {}, len(stale))


def _rewriter(place: Workplace, key: bytes, cutoff: int, progress: Progress) -> Pseudonyms:
    kept = Collector()
    hosts: set[str] = set()
    with LogReader(place.location) as reader, without_gc():
        rewrite_state(to_snapshot(state_at_end(reader)), kept)
        for row in reader.rows(after_id=cutoff):
            if row.event_type not in ABOUT_PEOPLE and _TOKEN.search(row.payload):
                rewrite_event(decode_event(row.event_type, row.actor_uid, row.target, row.payload), kept)
        base = reader.base()
        if base is not None:
            hosts = {user.real_host.lower() for user in reader.load(base).users.values()}
        for row in reader.rows(types=("user.connect", "user.attach"), before_id=cutoff + 1):
            event = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
            hosts.add(str(getattr(event, "real_host", "")).lower())
            if row.id % 1000 == 0:
                progress(f"looking for host names: event {row.id:,} of {cutoff:,}")
    names = {host for host in hosts if "." in host and not host.startswith(PREFIX)}
    return Pseudonyms(key, names, kept.tokens)


def _groups(place: Workplace, rewriter: Pseudonyms, cutoff: int, progress: Progress) -> dict[str, list[int]]:
    """The events that have to change and that the state keeps something of, by target; notes all that is replaced."""
    groups: dict[str, list[int]] = {}
    with LogReader(place.location) as reader:
        for row in reader.rows(before_id=cutoff + 1):
            changes = rewriter.concerns(row) and rewritten(row, rewriter) is not None
            if changes and row.event_type not in ABOUT_PEOPLE:
                groups.setdefault(row.target or "", []).append(row.id)
            if row.id % 10_000 == 0:
                progress(f"looking for masks: event {row.id:,} of {cutoff:,}")
    return groups


def _base(place: Workplace, rewriter: Pseudonyms, cutoff: int) -> Base | None:
    """The base with its addresses replaced, if it is old enough and has any."""
    with place.reading() as connection:
        found = checkpoints.find_base(connection)
    return rewritten_base(place, rewriter) if found is not None and found.event_id <= cutoff else None


def _stale(place: Workplace, used: set[str]) -> list[int]:
    """The checkpoints that hold an address that is replaced anywhere: each is made anew from what events say then."""
    stale: list[int] = []
    with place.reading() as connection:
        for checkpoint in checkpoints.find(connection, base=False):
            held = Collector()
            try:
                rewrite_state(to_snapshot(checkpoints.load(connection, checkpoint)), held)
            except checkpoints.DamagedCheckpoint:
                stale.append(checkpoint.event_id)
                continue
            if held.tokens & used:
                stale.append(checkpoint.event_id)
    return sorted(stale)


def _rewrite_masks(
    place: Workplace,
    rewriter: Pseudonyms,
    base: Base | None,
    groups: dict[str, list[int]],
    stale: list[int],
    progress: Progress,
) -> int:
    """Masks in whole groups; the base, and checkpoints that go, in the transaction of the first."""
    # What the base has may be taken off by any of them, so with a base that changes they all go at once.
    batches = [[event_id for ids in groups.values() for event_id in ids]] if base else list(_batches(place, groups))
    count = 0
    for number, ids in enumerate(batches or [[]]):
        started = time.monotonic()
        with place.changing() as connection:
            if number == 0:
                _forget_checkpoints(connection, stale)
                if base is not None:
                    values = msgspec.structs.asdict(base)
                    event_id = values.pop("event_id")
                    mine = (CHECKPOINTS.c.event_id == event_id) & (CHECKPOINTS.c.kind == checkpoints.BASE)
                    connection.execute(update(CHECKPOINTS).where(mine).values(values))
            for start in range(0, len(ids), 500):
                count += rewrite_ids(connection, ids[start : start + 500], rewriter)
        place.pace.took(time.monotonic() - started, len(ids))
        place.reached("some rewritten")
        progress(f"masks: {count:,} events rewritten")
    return count


def _batches(place: Workplace, groups: dict[str, list[int]]) -> Iterator[list[int]]:
    batch: list[int] = []
    for ids in groups.values():
        batch += ids
        if len(batch) >= place.pace.rows:
            yield batch
            batch = []
    if batch:
        yield batch


def _forget_checkpoints(connection: Connection, event_ids: list[int]) -> None:
    others = CHECKPOINTS.c.kind != checkpoints.BASE
    connection.execute(delete(CHECKPOINTS).where(others & CHECKPOINTS.c.event_id.in_(event_ids)))
