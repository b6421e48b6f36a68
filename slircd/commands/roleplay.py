"""NPC, NPCA, SCENE: role-play on channels that allow it (+E), as on Ergo and its ancestors.

Whoever speaks for a character is its user name, and no nick has asterisks or equals signs, so a character can be taken
for nobody who is here, and everybody sees who plays it.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from slircd.commands.messaging import check_rate
from slircd.commands.registry import Context, command
from slircd.commands.relay import say_for
from slircd.rules.lookup import visible_channel
from slircd.services.directory import SERVICES
from slircd.wire.names import valid_nick
from slircd.wire.numerics import ERR_CANNOTSENDRP, ERR_NOTEXTTOSEND, NumericError

if TYPE_CHECKING:
    from slircd.state.model import Channel

HOST: Final = "npc.fakeuser.invalid"
"""The host of characters: a name that can be nobody's (RFC 2606)."""

MODE: Final = "E"


@command("NPC", params=3)
def npc(ctx: Context, name: str, character: str, *words: str) -> Coroutine[Any, Any, None] | None:
    """NPC <channel> <character> <text>

    Says something on a channel for a character that one plays there (channel mode E).
    """
    channel = _stage(ctx, name)
    return _play(ctx, channel, _actor(ctx, channel, character), _text(words))


@command("NPCA", params=3)
def npca(ctx: Context, name: str, character: str, *words: str) -> Coroutine[Any, Any, None] | None:
    """NPCA <channel> <character> <text>

    The same as an action: what the character does.
    """
    channel = _stage(ctx, name)
    return _play(ctx, channel, _actor(ctx, channel, character), f"\x01ACTION {_text(words)}\x01")


@command("SCENE", params=2)
def scene(ctx: Context, name: str, *words: str) -> Coroutine[Any, Any, None] | None:
    """SCENE <channel> <text>

    Describes a scene on a channel (channel mode E).
    """
    return _play(ctx, _stage(ctx, name), "=Scene=", _text(words))


def _stage(ctx: Context, name: str) -> Channel:
    """The channel, if role-play is allowed there."""
    channel = visible_channel(ctx.state, name, ctx.uid)
    if MODE not in channel.flags:
        raise NumericError(ERR_CANNOTSENDRP, channel.name, text="This channel is not for role-play (+E)")
    return channel


def _actor(ctx: Context, channel: Channel, character: str) -> str:
    precis = ctx.state.casemap.is_precis
    fits = valid_nick(character, ctx.config.limits.nicklen, precis=precis) and ctx.state.fold(character) not in SERVICES
    if not fits:
        raise NumericError(ERR_CANNOTSENDRP, channel.name, text=f"{character} is no name for a character")
    return f"*{character}*"


def _text(words: tuple[str, ...]) -> str:
    """What is said: some clients send all of it as one parameter, others each word as one."""
    text = " ".join(words)
    if not text.strip():
        raise NumericError(ERR_NOTEXTTOSEND)
    return text.replace("\x01", "")


def _play(ctx: Context, channel: Channel, who: str, text: str) -> Coroutine[Any, Any, None] | None:
    if "f" in channel.params:
        check_rate(ctx, ctx.channel(channel.name))
    # Clients do not show by themselves what these commands say.
    return say_for(ctx, channel, f"{who}!{ctx.nick}@{HOST}", text, always_shown=True)
