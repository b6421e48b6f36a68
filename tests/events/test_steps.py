"""Work that most often need not wait, and what becomes of it when it must."""

from __future__ import annotations

import unittest
from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from slircd.events.steps import begin


class BeginTest(unittest.TestCase):
    def setUp(self) -> None:
        self.done: list[object] = []

    async def awaiting(self, *waits: Deferred[str]) -> None:
        for wait in waits:
            try:
                self.done.append(await wait)
            except ValueError as error:
                self.done.append(str(error))

    def begin(self, work: Coroutine[Any, Any, None]) -> Deferred[None]:
        waiting = begin(work)
        assert waiting is not None
        return waiting

    def test_nothing_to_wait_for(self) -> None:
        """What is there already is no reason to wait."""
        self.assertIsNone(begin(self.awaiting(succeed("a"), fail(ValueError("b")), succeed("c"))))
        self.assertEqual(self.done, ["a", "b", "c"])

    def test_waiting(self) -> None:
        """Each wait ends with the value, or the error, that was waited for."""
        first, second, third = Deferred[str](), Deferred[str](), Deferred[str]()
        waiting = self.begin(self.awaiting(first, succeed("b"), second, third))
        first.callback("a")
        self.assertEqual(self.done, ["a", "b"])
        second.errback(ValueError("c"))
        self.assertFalse(waiting.called)
        third.callback("d")
        self.assertEqual(self.done, ["a", "b", "c", "d"])
        self.assertTrue(waiting.called)

    def test_errors(self) -> None:
        """An error of the work itself is raised before the first wait, and fails the Deferred later."""
        with pytest.raises(KeyError):
            begin(self.awaiting(fail(KeyError("x"))))
        first = Deferred[str]()
        waiting = self.begin(self.awaiting(first))
        failures: list[Any] = []
        waiting.addErrback(failures.append)
        first.errback(KeyError("y"))
        self.assertEqual([failure.type for failure in failures], [KeyError])
        self.assertEqual(self.done, [])
