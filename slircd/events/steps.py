"""Coroutines that most often need not wait: JOIN, PART, NICK and USER are done when their decision is applied."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any

from twisted.internet.defer import Deferred


def begin(work: Coroutine[Any, Any, None]) -> Deferred[None] | None:
    """Run `work` until it has to wait; returns None if it came to its end, else what fires at its end.

    Raises what `work` raises before that.  Twisted's own ensureDeferred costs as much as a whole small command does,
    so it is asked only for what really waits.
    """
    try:
        awaited = work.send(None)
    except StopIteration:
        return None
    return Deferred.fromCoroutine(_rest(work, awaited))


def _rest(work: Coroutine[Any, Any, None], awaited: Any) -> Generator[Deferred[Any], Any, None]:
    """What is left of `work`, which waits for `awaited`: the same steps, as a generator of its own."""
    step: Callable[[Any], Any]
    while True:
        try:
            result: Any = yield awaited
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:
            step, result = work.throw, error
        else:
            step = work.send
        try:
            awaited = step(result)
        except StopIteration:
            return
