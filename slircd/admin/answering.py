"""The process that answers questions about the past: `python -m slircd.admin.answering`, started by slircd.admin.pool.

It reads frames from its standard input, four bytes of length and then JSON: which function of which module, with which
arguments.  It answers each with a frame on its standard output, whose first byte says whether what follows is the
answer (`+`) or, as JSON, what went wrong (`-`).  When its input ends it ends, so it never outlives the server.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from typing import IO, Final

import msgspec

from slircd.events.reader import LogReader, NoLog

NICENESS: Final = 5
"""Clients of the server come first."""


class Question(msgspec.Struct, kw_only=True):
    """A function `question(reader, **arguments)` of a module of slircd, and the log."""

    location: str
    module: str
    name: str
    arguments: dict[str, object]


class Failed(msgspec.Struct, kw_only=True):
    """What a question raised."""

    kind: str
    text: str
    event_id: int = 0
    trace: str = ""
    unreachable: bool = False
    """Whether the database was away, or went away meanwhile."""


def answer(question: Question) -> bytes:
    """What is sent back for a question."""
    try:
        function = getattr(import_module(question.module), question.name)
        with LogReader(question.location) as reader:
            return b"+" + bytes(function(reader, **question.arguments))
    except Exception as error:  # whatever it is, whoever asked is told
        failed = Failed(
            kind=type(error).__name__,
            text=str(error),
            event_id=getattr(error, "event_id", 0),
            trace=traceback.format_exc(),
            unreachable=isinstance(error, NoLog) or _is_operational(error),
        )
        return b"-" + msgspec.json.encode(failed)


def _is_operational(error: BaseException) -> bool:
    """Whether it is what DB-API drivers, and SQLAlchemy in their name, raise for a database that is in trouble."""
    return any(kind.__name__ == "OperationalError" for kind in type(error).__mro__)


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer until nobody asks any more."""
    while head := source.read(4):
        question = msgspec.json.decode(source.read(int.from_bytes(head, "big")), type=Question)
        body = answer(question)
        sink.write(len(body).to_bytes(4, "big"))
        sink.write(body)
        sink.flush()


def main() -> None:
    """Serve on standard input and output, which nothing else writes to."""
    os.nice(NICENESS)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with sink:
        serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
