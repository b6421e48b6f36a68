"""Who may say what to whom.  Messages are no events, so these functions decide nothing: they raise, or give the text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from slircd.rules.bans import is_banned
from slircd.rules.channel import STAFF
from slircd.state.model import Channel, ServerState, User
from slircd.wire.formatting import has_formatting, is_ctcp, strip_formatting
from slircd.wire.masks import matches_mask
from slircd.wire.numerics import (
    ERR_CANNOTSENDTOCHAN,
    ERR_CANTSENDTOUSER,
    ERR_NEEDREGGEDNICK,
    ERR_TARGUMODEG,
    NumericError,
)


def check_channel_text(
    state: ServerState, channel: Channel, user: User, text: str, *, notice: bool = False, override: bool = False
) -> str:
    """What `user` says on the channel when it says `text`: formatting codes may be stripped (+S).

    Raises ERR_CANNOTSENDTOCHAN, with the mode that forbids it.
    """
    prefixes = channel.members.get(user.uid)
    flags = channel.flags
    if not prefixes and not override:
        check_may_speak(state, channel, user, inside=prefixes is not None)
    if text and flags:
        if "c" in flags and has_formatting(text):
            raise _refused(channel, "c")
        if "C" in flags and is_ctcp(text):
            raise _refused(channel, "C")
        if "T" in flags and notice:
            raise _refused(channel, "T")
        if "S" in flags:
            return strip_formatting(text)
    return text


def check_may_speak(state: ServerState, channel: Channel, user: User, *, inside: bool) -> None:
    """Raise the numeric that says why somebody without a prefix may not speak on the channel."""
    flags = channel.flags
    if "n" in flags and not inside:
        raise _refused(channel, "n")
    if "m" in flags:
        raise _refused(channel, "m")
    if "M" in flags and user.account is None:
        # Not ERR_NEEDREGGEDNICK, which clients take for a join that failed.
        raise NumericError(ERR_CANNOTSENDTOCHAN, channel.name, text="You need an account to speak here (+M)")
    if "b" in channel.lists and is_banned(state, channel, user, "m"):
        raise _refused(channel, "b")


def hearing_modes(channel: Channel, user: User, modes: str = "", *, override: bool = False) -> str:
    """The prefix modes of those who hear what `user` says to members with one of `modes`; empty for everybody.

    Where the channel is op-moderated (+U), who has no prefix is heard by staff only.
    """
    if "U" in channel.flags and not override and not channel.members.get(user.uid):
        return STAFF
    return modes


def _refused(channel: Channel, mode: str) -> NumericError:
    return NumericError(ERR_CANNOTSENDTOCHAN, channel.name, text=f"{ERR_CANNOTSENDTOCHAN.text} (+{mode})")


GUARDED: Final = frozenset("Rg")
"""User modes that keep messages away from their user, unless it has accepted who sends them."""


def check_private_text(
    sender: User, recipient: User, text: str, accepts: Callable[[str, str], bool], *, oper: bool = False
) -> None:
    """Raise the numeric that says why `recipient` takes no such message from `sender`.

    ERR_NEEDREGGEDNICK, ERR_TARGUMODEG or ERR_CANTSENDTOUSER.

    `accepts` tells whether the first of two UIDs has accepted the second; `oper` says that the client which sends it is
    an IRC operator's: from those everybody takes everything.
    """
    modes = recipient.modes
    if sender.uid == recipient.uid or oper:
        return
    if "R" in modes and sender.account is None and not accepts(recipient.uid, sender.uid):
        raise NumericError(ERR_NEEDREGGEDNICK, recipient.nick, text="This user takes messages from accounts only (+R)")
    if "g" in modes and not accepts(recipient.uid, sender.uid):
        raise NumericError(ERR_TARGUMODEG, recipient.nick)
    if "T" in modes and is_ctcp(text):
        raise NumericError(ERR_CANTSENDTOUSER, recipient.nick, text="This user takes no CTCP (+T)")


def is_silenced(state: ServerState, sender: User, masks: Iterable[str]) -> bool:
    """Whether `sender` matches one of the masks that a recipient has silenced."""
    hosts = (sender.host,)
    return any(matches_mask(mask, sender.nick, sender.username, hosts, "", state.fold) for mask in masks)
