"""Events of a channel in words, for people; keys (+k) are masked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from slircd.events import types as ev

MASKED: Final = "*"


def mask_lock(lock: str) -> str:
    """A mode lock without the key in it: the parameters of a lock that has k are all masked."""
    modes, *parameters = lock.split()
    return " ".join([modes, *(MASKED for _ in parameters)]) if "k" in modes else lock


def shown_setting(setting: str, value: str) -> str:
    """The value of a channel's setting as everybody may see it."""
    return mask_lock(value) if setting == "mlock" and value else value


def _setting(event: ev.ChanSet) -> str:
    return f"set {event.setting.upper()} to {shown_setting(event.setting, event.value) or 'nothing'}"


def _modes(event: ev.ChannelModeChange) -> str:
    words: list[str] = []
    for change in event.changes:
        param = MASKED if change.mode == "k" else change.param
        words.append(change.sign + change.mode + (f" {param}" if param else ""))
    return "mode " + ", ".join(words)


WORDS: Final[dict[type[ev.Event], Callable[[Any], str]]] = {
    ev.ChannelCreate: lambda event: f"created the channel with +{event.modes}",
    ev.ChannelDestroy: lambda event: "the channel ended",
    ev.ChannelTopicChange: lambda event: f"topic: {event.topic}" if event.topic else "removed the topic",
    ev.ChannelModeChange: _modes,
    ev.ChannelRename: lambda event: (
        f"renamed the channel to {event.new_name}" + (f": {event.reason}" if event.reason else "")
    ),
    ev.ChannelBanAdd: lambda event: f"mode +{event.mode} {event.mask}",
    ev.ChannelBanRemove: lambda event: f"mode -{event.mode} {event.mask}",
    ev.MetadataSet: lambda event: (
        f"set metadata {event.key} of {event.name} to {event.value}"
        if event.value
        else f"removed metadata {event.key} of {event.name}"
    ),
    ev.ChannelKick: lambda event: f"kicked {event.member}: {event.reason}",
    ev.ChanRegister: lambda event: f"registered the channel to {event.founder}",
    ev.ChanDrop: lambda event: "dropped the channel",
    ev.ChanFlags: lambda event: f"flags of {event.entry}: +{event.previous} to +{event.flags}",
    ev.ChanSet: _setting,
    ev.ChanRestore: lambda event: f"restored the channel as it was at {event.at}",
}
"""What staff is told of each kind of event of a channel; others are no part of its history."""


def describe(event: ev.Event) -> str | None:
    """An event of a channel in words, without who and when; None if it is no part of a channel's history."""
    words = WORDS.get(type(event))
    return None if words is None else words(event)


def who(event: ev.Event) -> str:
    """Who caused it: the nick of the user, ChanServ for somebody, somebody through the admin API, or the server."""
    nick: str = getattr(event, "nick", "") or "the server"
    if event.actor_uid is not None and event.actor_uid.startswith("admin:"):
        return f"{event.actor_uid.removeprefix('admin:')} (admin API)"
    return f"{nick} (ChanServ)" if event.actor_uid == "chanserv" and nick != "ChanServ" else nick


def _banned(event: ev.ChannelBanAdd) -> str:
    return f"banned {event.mask}" if event.mode == "b" else f"set +{event.mode} {event.mask}"


def _unbanned(event: ev.ChannelBanRemove) -> str:
    return f"unbanned {event.mask}" if event.mode == "b" else f"set -{event.mode} {event.mask}"


DONE: Final[dict[type[ev.Event], Callable[[Any], str]]] = {
    ev.ChannelModeChange: lambda event: _modes(event).replace("mode ", "set ", 1),
    ev.ChannelBanAdd: _banned,
    ev.ChannelBanRemove: _unbanned,
}
"""What is told in other words where the words have a subject."""


def tell(event: ev.Event) -> str | None:
    """Any event in words, with who and where: a line of an account of what happened; None for what tells nothing."""
    where = f" on {event.target}" if event.target and event.target.startswith("#") else ""
    if isinstance(event, ev.ChannelJoin):
        return f"{event.member} joined {event.name}" + (f" by {event.nick}" if event.nick != event.member else "")
    if isinstance(event, ev.ChannelPart):
        return f"{event.member} left {event.name}" + (f": {event.reason}" if event.reason else "")
    done = DONE.get(type(event))
    words = done(event) if done is not None else describe(event)
    if words is not None:
        return f"{who(event)} {words}{where}"
    teller = TELLERS.get(type(event))
    return None if teller is None else teller(event)


TELLERS: Final[dict[type[ev.Event], Callable[[Any], str]]] = {
    ev.UserConnect: lambda event: f"{event.nick} ({event.username}@{event.host}) connected",
    ev.UserDisconnect: lambda event: f"{event.nick} disconnected: {event.reason}",
    ev.UserAttach: lambda event: f"{event.nick} has another client",
    ev.UserDetach: lambda event: f"a client of {event.nick} has gone: {event.reason}",
    ev.UserAlwaysOn: lambda event: f"{event.nick} {'stays' if event.on else 'does not stay'} without a client",
    ev.MessageRedact: lambda event: f"{event.nick} took back a message to {event.to}",
    ev.UserNickChange: lambda event: f"{event.nick} is now {event.new_nick}",
    ev.UserAway: lambda event: f"{event.nick} is away: {event.message}" if event.message else f"{event.nick} is back",
    ev.UserAccount: lambda event: (
        f"{event.nick} is logged in as {event.account}" if event.account else f"{event.nick} is logged out"
    ),
    ev.UserHostChange: lambda event: f"{event.nick} has the host {event.host}",
    ev.UserRealnameChange: lambda event: f"{event.nick} has the real name {event.realname}",
    ev.ChannelInvite: lambda event: f"{event.nick} invited {event.member} to {event.target}",
    ev.NickRegister: lambda event: f"{event.nick} registered the account {event.account}",
    ev.NickDrop: lambda event: f"{event.nick} dropped the account {event.account}",
    ev.OperLogin: lambda event: f"{event.nick} became IRC operator {event.oper}",
    ev.OperKill: lambda event: f"{event.nick} killed {event.member}: {event.reason}",
    ev.OperRehash: lambda event: f"{event.nick or 'the server'} read the configuration again",
    ev.PluginLoad: lambda event: f"{event.nick or 'the server'} loaded the plugin {event.target} {event.version}",
    ev.PluginUnload: lambda event: f"{event.nick or 'the server'} unloaded the plugin {event.target}: {event.reason}",
    ev.PluginFault: lambda event: f"the plugin {event.target} failed ({event.kind}): {event.text}",
    ev.AdminAction: lambda event: (
        f"{who(event)} asked for {event.action}: "
        + ", ".join(f"{name} {value}" for name, value in event.arguments.items())
    ).removesuffix(": "),
    ev.ServerStart: lambda event: f"{event.name} started",
    ev.ServerStop: lambda event: f"{event.name} stopped: {event.reason}",
    ev.ServerPrune: lambda event: f"retention deleted {event.events} events",
    ev.ServerRedact: lambda event: f"{event.events} events were rewritten ({event.what})",
    **{
        cls: lambda event: (
            f"{event.nick} set {event.event_type.removeprefix('oper.').upper()} {event.mask}: {event.reason}"
        )
        for cls in ev.LineAdd.__subclasses__()
    },
    **{
        cls: lambda event: (
            f"{event.nick or 'the server'} removed {event.event_type.removeprefix('oper.un').upper()} {event.mask}"
        )
        for cls in ev.LineRemove.__subclasses__()
    },
}
"""What is told of events that are no part of a channel's history."""
