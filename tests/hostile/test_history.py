"""Floods of CHATHISTORY: threads that read the log are few, and everybody's question has its turn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from twisted.internet.defer import Deferred

from slircd.events import store as module
from slircd.events.store import READERS, SQLStore
from tests.hostile.support import FLOOD, HostileTestCase


def test_few_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask, four threads read and the rest of the process's threads are free; who asked first is first."""
    running: list[tuple[Any, Deferred[Any]]] = []

    def in_thread(function: Callable[..., Any], question: Any) -> Deferred[Any]:
        running.append((question, Deferred()))
        return running[-1][1]

    monkeypatch.setattr(module, "deferToThread", in_thread)
    store = SQLStore(f"sqlite:///{tmp_path / 'log.db'}", call_in_reactor=lambda *_: None, seconds=float)
    answered: list[int] = []
    for number in range(100):
        store.ask_history(number).addCallback(answered.append)  # type: ignore[arg-type]  # nobody runs it
    for number in range(100):
        assert len(running) == min(number + READERS, 100)
        question, done = running[number]
        if number % 10 == 9:
            done.addErrback(lambda failure: failure.trap(OSError))
        done.callback(question)
    assert answered == list(range(100))


class Answers(HostileTestCase):
    config: ClassVar[Any] = {
        "flood": {**FLOOD, "lines_per_token": 100},
        "history": {"channels": True, "limit": 500},
        "throttle": {"exempt": []},
    }

    def test_long_answers_cost(self) -> None:
        """A page of five hundred lines is worth five commands more, so a client gets one a second and a half, not four a second."""
        eve = self.attacker(caps="batch draft/chathistory")
        eve.sends("JOIN #own")
        for number in range(600):
            eve.session._bucket._tokens = 20
            eve.sends(f"PRIVMSG #own :{number}")
        self.waits(60)
        eve.lines()
        before = self.world.server.command_counts.get("CHATHISTORY", 0)
        for _ in range(60):
            eve.sends(*["CHATHISTORY LATEST #own * 500"] * 4)
            self.waits(1)
        ran = self.world.server.command_counts["CHATHISTORY"] - before
        self.assertGreater(ran, 10)
        self.assertLessEqual(ran, (20 + 4 * 60) / 6 + 1)
        self.assertFalse(eve.is_closed)
