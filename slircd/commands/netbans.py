"""Network bans and spam filters: KLINE, DLINE, GLINE, ZLINE, RLINE, SHUN, their UN forms, FILTER."""

from __future__ import annotations

from slircd.commands.registry import ClientGone, Context, command
from slircd.events.clock import format_timestamp
from slircd.rules.netbans import (
    ACTIONS,
    KINDS,
    NewLine,
    decide_filter,
    decide_line,
    decide_unfilter,
    decide_unline,
    line_mask,
    parse_duration,
)
from slircd.security.filters import check_pattern
from slircd.wire.message import truncate_utf8
from slircd.wire.numerics import ERR_NEEDMOREPARAMS, NumericError, StandardReply

MAX_REASON = 200


async def _set_line(ctx: Context, kind: str, words: tuple[str, ...]) -> None:
    rest = list(words)
    test = force = False
    seconds = 0
    while rest:
        word = rest[0].upper()
        duration = parse_duration(rest[0].lower())
        if word == "TEST":
            test = True
        elif word == "FORCE":
            force = True
        elif duration is not None and len(rest) > 1:
            seconds = duration
        else:
            break
        rest.pop(0)
    if not rest or (len(rest) < 2 and not test):
        raise NumericError(ERR_NEEDMOREPARAMS, kind.upper())
    mask = line_mask(kind, rest[0])
    hit = await ctx.server.bans.victims(kind, mask)
    if ctx.session.is_closed:
        raise ClientGone
    ctx.require_privilege("ban")  # it may have been taken meanwhile
    if test:
        names = ", ".join(user.nick for user in hit[:10])
        ctx.notice(f"{kind.upper()} {mask} would hit {len(hit)} users{': ' if hit else ''}{names}")
        return
    reason, _, private = " ".join(rest[1:]).partition("|")
    expires = format_timestamp(ctx.server.epoch_s() + seconds) if seconds else None
    line = NewLine(
        kind, mask, truncate_utf8(reason.strip(), MAX_REASON), truncate_utf8(private.strip(), MAX_REASON), expires
    )
    await ctx.emit(decide_line(ctx.state, ctx.uid, line, hit, force=force))
    ctx.notice(f"{kind.upper()} {mask} is set{f' until {expires[:19]}Z' if expires else ''}")


async def _remove_line(ctx: Context, kind: str, mask: str) -> None:
    await ctx.emit(decide_unline(ctx.state, ctx.uid, kind, mask))
    ctx.notice(f"{kind.upper()} {mask} is removed")


def _register(kind: str) -> None:
    name = kind.upper()
    about = {
        "userhost": "<user@host>",
        "address": "<address or network>",
        "realname": "<real name glob>",
    }[KINDS[kind].form]

    async def set_line(ctx: Context, *words: str) -> None:
        await _set_line(ctx, kind, words)

    async def remove_line(ctx: Context, mask: str) -> None:
        await _remove_line(ctx, kind, mask)

    effect = "Disconnects" if KINDS[kind].disconnects else "Ignores the commands of"
    set_line.__doc__ = (
        f"{name} [TEST] [FORCE] [<duration>] {about} <reason>[|<private reason>]\n\n"
        f"{effect} who matches, and whoever comes later; TEST only says whom it would hit."
    )
    remove_line.__doc__ = f"UN{name} {about}\n\nRemoves a {name}."
    command(name, params=1, privilege="ban")(set_line)
    command(f"UN{name}", params=1, privilege="ban")(remove_line)


for _kind in KINDS:
    _register(_kind)


@command("FILTER", params=1, privilege="ban")
async def filter_(ctx: Context, action: str, *words: str) -> None:
    """FILTER ADD <block | warn | kill> <regular expression> <reason> | DEL <regular expression> | LIST

    Keeps spam out: messages that match the expression (RE2) are blocked, told to staff, or end their sender.
    """
    verb = action.upper()
    if verb == "LIST":
        for each in ctx.state.filters.values():
            ctx.notice(f"{each.action} {each.pattern} ({each.reason}) by {each.set_by}, {each.set_at[:10]}")
        ctx.notice(f"{len(ctx.state.filters)} filters")
    elif verb == "ADD" and len(words) >= 3:
        what, pattern, reason = words[0].lower(), words[1], " ".join(words[2:])
        if what not in ACTIONS:
            raise StandardReply("FAIL", "INVALID_PARAMS", words[0], text=f"One of {', '.join(ACTIONS)}")
        wrong = check_pattern(pattern)
        if wrong is not None:
            raise StandardReply("FAIL", "INVALID_PARAMS", "*", text=f"Not a usable expression: {wrong}")
        await ctx.emit(decide_filter(ctx.state, ctx.uid, pattern, what, truncate_utf8(reason, MAX_REASON)))
        ctx.notice("The filter is set")
    elif verb == "DEL" and words:
        await ctx.emit(decide_unfilter(ctx.state, ctx.uid, words[0]))
        ctx.notice("The filter is removed")
    else:
        raise NumericError(ERR_NEEDMOREPARAMS, "FILTER")
