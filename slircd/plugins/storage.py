"""What a plugin keeps: keys and values, in the log, so that replay sees them.

Writes are collected and go into the log about twice a second, one event for many keys, the newest value of each; when
there are more keys than the rate allows they wait, and reads see them all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
import txaio
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from slircd.events.types import Event, PluginStore
from slircd.plugins.interface import PluginError, PluginRefused

if TYPE_CHECKING:
    from slircd.config.sections import PluginLimits
    from slircd.state.model import ServerState

txaio.use_twisted()
log = txaio.make_logger()

FLUSH_S: Final = 0.5
RETRY_S: Final = 5.0
MAX_KEY_BYTES: Final = 128
MAX_VALUE_BYTES: Final = 4096
EVENT_BYTES: Final = 32_768
MAX_KEYS: Final = 1000


class Storage:
    """One plugin's keys and values; `emit` gives a decision to the bus."""

    def __init__(
        self,
        name: str,
        state: ServerState,
        reactor: Any,
        limits: PluginLimits,
        emit: Callable[[list[Event]], Deferred[Any]],
    ) -> None:
        self._name = name
        self._state = state
        self._reactor = reactor
        self._limits = limits
        self._emit = emit
        self._waiting: dict[str, str | None] = {}
        """Keys that are not in the log yet: their values as JSON, None for those that are removed."""
        self._timer: IDelayedCall | None = None
        self._totals: tuple[int, int] | None = None

    @property
    def _kept(self) -> dict[str, str]:
        return self._state.storage.get(self._name, {})

    def _raw(self, key: str) -> str | None:
        return self._waiting[key] if key in self._waiting else self._kept.get(key)

    def get(self, key: str) -> Any:
        """The value of a key, or None."""
        raw = self._raw(key)
        return None if raw is None else msgspec.json.decode(raw)

    def keys(self, prefix: str) -> list[str]:
        """The first thousand keys with this prefix, sorted."""
        present = {key for key in self._kept if key.startswith(prefix)}
        for key, raw in self._waiting.items():
            if key.startswith(prefix):
                (present.discard if raw is None else present.add)(key)
        return sorted(present)[:MAX_KEYS]

    def usage(self) -> tuple[int, int]:
        """How many keys there are, and the bytes of keys and values."""
        count = size = 0
        for key in self._kept.keys() | self._waiting.keys():
            raw = self._raw(key)
            if raw is not None:
                count += 1
                size += len(key.encode()) + len(raw.encode())
        return count, size

    def set(self, key: str, value: Any) -> None:
        """Keep a value.  Raises PluginError for what cannot be kept, PluginRefused past the quota."""
        if value is None:
            self.delete(key)
            return
        if not 0 < len(key.encode()) <= MAX_KEY_BYTES or "\0" in key:
            raise PluginError(f"storage_set: a key has from 1 to {MAX_KEY_BYTES} bytes and no NUL")
        raw = msgspec.json.encode(value, order="deterministic").decode()
        if len(raw.encode()) > MAX_VALUE_BYTES:
            raise PluginError(f"storage_set: a value of more than {MAX_VALUE_BYTES} bytes")
        before = self._raw(key)
        if raw == before:
            return
        keys, size = self._measured()
        grown = len(raw.encode()) + (len(key.encode()) if before is None else -len(before.encode()))
        if before is None and keys >= self._limits.storage_keys:
            raise PluginRefused(f"the storage is full: {self._limits.storage_keys} keys")
        if size + grown > self._limits.storage_bytes:
            raise PluginRefused(f"the storage is full: {self._limits.storage_bytes} bytes")
        self._totals = (keys + (before is None), size + grown)
        self._change(key, raw)

    def _measured(self) -> tuple[int, int]:
        if self._totals is None:
            self._totals = self.usage()
        return self._totals

    def delete(self, key: str) -> bool:
        """Forget a key; whether it was there."""
        before = self._raw(key)
        if before is None:
            return False
        keys, size = self._measured()
        self._totals = (keys - 1, size - len(before.encode()) - len(key.encode()))
        self._change(key, None)
        return True

    def _change(self, key: str, raw: str | None) -> None:
        # To the end: what is written again and again must not keep others waiting.
        self._waiting.pop(key, None)
        self._waiting[key] = raw
        if self._timer is None:
            self._timer = self._reactor.callLater(FLUSH_S, self._due)

    def _due(self) -> None:
        self._timer = None
        self.flush(int(self._limits.storage_writes_per_s * FLUSH_S) or 1)
        if self._waiting:
            self._timer = self._reactor.callLater(FLUSH_S, self._due)

    def flush(self, most: int | None = None) -> None:
        """Write what waits, or the first `most` keys of it."""
        if most is None and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        keys = list(self._waiting)[:most]
        while keys:
            values: dict[str, str] = {}
            removed: list[str] = []
            size = 0
            while keys and size < EVENT_BYTES:
                key = keys.pop(0)
                raw = self._waiting.pop(key)
                size += 2 * len(key.encode()) + 2 * len((raw or "").encode())
                if raw is None:
                    removed.append(key)
                else:
                    values[key] = raw
            event = PluginStore(actor_uid=f"plugin:{self._name}", target=self._name, values=values, removed=removed)
            self._emit([event]).addErrback(self._failed, event)

    def _failed(self, failure: Failure, event: PluginStore) -> None:
        """The log cannot be written: what was to be written waits again, behind what is newer."""
        log.warn("{plugin}: storage waits: {reason}", plugin=self._name, reason=failure.value)
        for key, raw in [*event.values.items(), *((key, None) for key in event.removed)]:
            self._waiting.setdefault(key, raw)
        if self._timer is None:
            self._timer = self._reactor.callLater(RETRY_S, self._due)
