"""BATCH: messages of several lines (IRCv3 draft/multiline, client-initiated batch).

A session has at most one batch open.  Its lines are collected, bounded by the limits that the capability's value
shows, and said as one message when it is closed.  A batch that is wrong is answered with one FAIL, and the rest of it
is ignored.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from slircd.commands.delivery import CONCAT, Part, Said
from slircd.commands.messaging import finish, is_blocked, speak
from slircd.commands.registry import Context, command
from slircd.services.directory import SERVICES
from slircd.wire.capabilities import MULTILINE
from slircd.wire.numerics import ERR_NEEDMOREPARAMS, ERR_UNKNOWNCOMMAND, NumericError, StandardReply

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from typing import Any

    from slircd.config.sections import Limits

KIND: Final = "draft/multiline"
OPEN_S: Final = 60
"""Seconds that a batch may be open."""

FREE: Final = frozenset({"BATCH", "PING", "PONG", "QUIT"})
"""Commands that may come while a batch is open, beside its own lines."""

_REFERENCE: Final = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)


class OpenBatch(msgspec.Struct):
    """A message that is being sent.  `failed` says that it is wrong, so what comes of it is ignored."""

    reference: str
    target: str
    opened_s: float
    tags: Mapping[str, str] | None = None
    label: str | None = None
    verb: str = ""
    parts: list[Part] = []
    size: int = 0
    failed: bool = False


def capability_value(limits: Limits) -> str:
    """The limits, as CAP LS shows them."""
    return f"max-bytes={limits.multiline_bytes},max-lines={limits.multiline_lines}"


def _fail(code: str, *context: str, text: str) -> StandardReply:
    return StandardReply("FAIL", code, *context, text=text, command="BATCH", always=True)


def _invalid(text: str) -> StandardReply:
    return _fail("MULTILINE_INVALID", text=text)


@command("BATCH", params=1)
def batch(ctx: Context, reference: str, kind: str = "", target: str = "") -> Coroutine[Any, Any, None] | None:
    """BATCH +<reference> draft/multiline <target> | -<reference>  (IRCv3 draft/multiline)

    Begins and ends a message of several lines.
    """
    if not ctx.caps & MULTILINE:
        raise NumericError(ERR_UNKNOWNCOMMAND, "BATCH")
    sign, name = reference[:1], reference[1:]
    if sign == "+":
        _begin(ctx, name, kind, target)
    elif sign == "-":
        return _end(ctx, name)
    else:
        raise _fail("INVALID_REFTAG", reference, text="A batch begins with + and ends with -")
    return None


def _begin(ctx: Context, name: str, kind: str, target: str) -> None:
    session = ctx.session
    opened = OpenBatch(name, target, ctx.server.reactor.seconds(), ctx.client_tags(), ctx.label, failed=True)
    before, session.open_batch = session.open_batch, opened
    if before is not None and not before.failed:
        raise _invalid("A batch is open already")
    if not _REFERENCE.fullmatch(name) or "batch" in ctx.message.tags:
        raise _fail(
            "INVALID_REFTAG", name or "*", text="A reference has letters, digits and -, and batches do not nest"
        )
    if kind != KIND:
        raise _fail("UNKNOWN_TYPE", name, kind or "*", text=f"Clients can send {KIND} only")
    if not target:
        raise NumericError(ERR_NEEDMOREPARAMS, "BATCH")
    if "," in target or ctx.state.fold(target) in SERVICES:
        raise _fail("MULTILINE_INVALID_TARGET", target, target, text="A multiline message has one target, no service")
    opened.failed = False
    ctx.put_off()


def _end(ctx: Context, name: str) -> Coroutine[Any, Any, None] | None:
    session = ctx.session
    opened, session.open_batch = session.open_batch, None
    if opened is None or opened.reference != name:
        raise _invalid("No such batch is open")
    if opened.failed:
        return None
    ctx.take_over(opened.label)
    texts = [part.text for part in opened.parts]
    if not any(texts):
        raise _invalid("A message needs a line that is not blank")
    text = texts[0] + "".join(("" if part.concat else "\n") + part.text for part in opened.parts[1:])
    said = Said(opened.verb, text, opened.tags, tuple(opened.parts))
    if is_blocked(ctx, opened.target, said):
        return None
    quiet = said.verb == "NOTICE"
    try:
        turn = speak(ctx, opened.target, said)
    except NumericError:
        if quiet:
            return None
        raise
    return None if turn is None else finish(ctx, [turn], quiet=quiet)


def collects(ctx: Context) -> bool:
    """Whether the command is a line of the batch that is open, or of one that has failed, and is now dealt with.

    Raises StandardReply for what has no place in a batch.
    """
    session, message = ctx.session, ctx.message
    opened = session.open_batch
    reference = message.tags.get("batch")
    if message.command in FREE or (opened is None and reference is None):
        return False
    if opened is None:
        raise _invalid("No such batch is open")
    if opened.failed:
        if reference is None:
            session.open_batch = None
        return reference == opened.reference
    opened.failed = True
    if reference is None:
        # Not lost: the batch is.
        session.open_batch = None
        ctx.refuse(_invalid("The batch was not closed"))
        return False
    _collect(ctx, opened, reference)
    opened.failed = False
    ctx.put_off()
    return True


def _collect(ctx: Context, opened: OpenBatch, reference: str) -> None:
    """Take a line into the batch.  Raises StandardReply for one that has no place there."""
    limits, message = ctx.config.limits, ctx.message
    if reference != opened.reference:
        raise _invalid("Not the batch that is open")
    if ctx.server.reactor.seconds() - opened.opened_s > OPEN_S:
        raise _fail("TIMEOUT", opened.reference, text="The batch was open for too long")
    if message.command not in ("PRIVMSG", "NOTICE") or message.command != (opened.verb or message.command):
        raise _invalid("A multiline message is either PRIVMSG or NOTICE")
    if len(message.params) < 2:
        raise _invalid("A line needs a target and a text")
    target, text = message.params[:2]
    if ctx.state.fold(target) != ctx.state.fold(opened.target):
        raise _fail("MULTILINE_INVALID_TARGET", opened.target, target, text="All lines have the batch's target")
    concat = CONCAT in message.tags
    if concat and not text:
        raise _invalid("A blank line cannot continue another one")
    size = opened.size + len(text.encode()) + (bool(opened.parts) and not concat)
    if len(opened.parts) == limits.multiline_lines:
        raise _fail("MULTILINE_MAX_LINES", str(limits.multiline_lines), text="Too many lines")
    if size > limits.multiline_bytes:
        raise _fail("MULTILINE_MAX_BYTES", str(limits.multiline_bytes), text="Too many bytes")
    opened.verb, opened.size = message.command, size
    opened.parts.append(Part(text, concat))
