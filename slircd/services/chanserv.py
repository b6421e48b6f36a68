"""ChanServ: registered channels, for people; and what no other server can tell of them: their history."""

from __future__ import annotations

from typing import Final

from slircd.events.clock import parse_moment
from slircd.events.codec import decode_event
from slircd.events.row import Row
from slircd.events.types import Event
from slircd.rules.registration import (
    ON_OFF,
    TEXTS,
    decide_ban,
    decide_chan_drop,
    decide_chan_register,
    decide_chan_set,
    decide_clear,
    decide_cs_invite,
    decide_cs_kick,
    decide_cs_topic,
    decide_flags,
    decide_give,
    decide_recover,
    decide_sync,
    decide_unban,
    registered_channel,
    require_flag,
)
from slircd.rules.restore import Restorer
from slircd.services.dispatch import Refused, Service, ServiceContext
from slircd.services.restoring import CannotRestore, restore_channel
from slircd.state.access import CHANSERV, FLAGS, TEMPLATES, flags_of
from slircd.state.apply import Stamp
from slircd.state.describe import describe, shown_setting, who
from slircd.state.model import Channel, Registration
from slircd.wire.masks import matches_glob, matches_mask
from slircd.wire.message import truncate_utf8
from slircd.wire.modes import CHANNEL_MODES, Change
from slircd.wire.numerics import NumericError

chanserv: Final = Service("ChanServ", CHANSERV, "ChanServ keeps channels: their owners, access lists and settings.")

LIST_LIMIT: Final = 50
HISTORY_DEFAULT: Final = 20
HISTORY_LIMIT: Final = 200
PAGE: Final = 2000
CONFIRM_S: Final = 300
"""Seconds within which a RESTORE is to be confirmed."""

RESTORE_WORK: Final = 4000
"""What a look at the past is worth, in lines, to the flood bucket: a process reads the log for it."""


def _override(ctx: ServiceContext) -> bool:
    return ctx.ctx.has_privilege("override")


def _registered(ctx: ServiceContext, name: str) -> tuple[Channel, Registration]:
    """A registered channel that who asks may know of."""
    sees_hidden = _override(ctx) or ctx.ctx.has_privilege("see-hidden")
    return registered_channel(ctx.state, name, ctx.ctx.user, override=sees_hidden)


# --- registration -------------------------------------------------------------------------------------------------


@chanserv.command("REGISTER", params=1, account=True)
async def register(ctx: ServiceContext, name: str) -> None:
    """REGISTER <channel>

    Registers a channel of which you are an operator to your account.
    """
    most = ctx.ctx.config.accounts.channels
    await ctx.emit(decide_chan_register(ctx.state, ctx.ctx.user, ctx.account, name, most))
    ctx.reply(f"{name} is registered to {ctx.account.name}.")


@chanserv.command("DROP", params=2, account=True)
async def drop(ctx: ServiceContext, name: str, again: str) -> None:
    """DROP <channel> <channel>

    Gives up a channel; its name twice, so that it is no slip.
    """
    if ctx.state.fold(name) != ctx.state.fold(again):
        raise Refused(f"To drop {name}: DROP {name} {name}")
    await ctx.emit(decide_chan_drop(ctx.state, ctx.ctx.user, name, override=_override(ctx)))
    ctx.reply(f"{name} is registered no longer.")


@chanserv.command("INFO", params=1)
async def info(ctx: ServiceContext, name: str) -> None:
    """INFO <channel>

    Shows what is known of a registered channel.
    """
    channel, registration = _registered(ctx, name)
    flags = flags_of(ctx.state, channel, ctx.ctx.user)
    mine = bool(flags) or ctx.ctx.has_privilege("see-hidden")
    ctx.reply(f"{channel.name}, registered {registration.registered_at[:19].replace('T', ' ')} UTC")
    if registration.is_set("private") and not mine:
        return
    founder = ctx.state.accounts.get(registration.founder)
    ctx.reply(f"Founder: {founder.name if founder is not None else registration.founder}")
    for setting, value in sorted(registration.settings.items()):
        ctx.reply(f"{setting.upper()}: {value if 's' in flags else shown_setting(setting, value)}")
    if channel.topic is not None and ("s" not in channel.flags or mine):
        ctx.reply(f"Topic: {channel.topic.text} (by {channel.topic.set_by})")


@chanserv.command("LIST", params=1)
async def list_(ctx: ServiceContext, pattern: str) -> None:
    """LIST <pattern>

    Shows registered channels whose name matches.
    """
    staff = ctx.ctx.has_privilege("see-hidden")
    found = [
        channel
        for channel in ctx.state.channels.values()
        if channel.registration is not None
        and matches_glob(ctx.state.fold(pattern), channel.key)
        and (staff or not (channel.registration.is_set("private") or channel.flags & {"s", "p"}))
    ]
    for channel in found[:LIST_LIMIT]:
        description = channel.registration.settings.get("description", "") if channel.registration else ""
        ctx.reply(f"{channel.name} ({len(channel.members)}) {description}".rstrip())
    ctx.reply(f"{len(found)} found" + (f", the first {LIST_LIMIT} shown" if len(found) > LIST_LIMIT else ""))


# --- access -------------------------------------------------------------------------------------------------------


@chanserv.command("FLAGS", params=1, account=True)
async def flags(ctx: ServiceContext, name: str, entry: str = "", change: str = "") -> None:
    """FLAGS <channel> [<account or mask> [<changes>]]

    Shows or changes the access list; letters are Atheme's, changes such as +ov-t, or VOP, HOP, AOP, SOP.
    """
    channel, registration = _registered(ctx, name)
    override = _override(ctx)
    if change:
        await ctx.emit(decide_flags(ctx.state, ctx.ctx.user, name, entry, change, override=override))
        ctx.reply("Done.")
        return
    require_flag(ctx.state, channel, ctx.ctx.user, "Af", override=override)
    wanted = ctx.state.fold(entry)
    founder = ctx.state.accounts.get(registration.founder)
    if founder is not None and (not wanted or wanted == founder.key):
        ctx.reply(f"{founder.name} founder")
    for key, access in registration.access.items():
        if not wanted or key == wanted:
            why = f" ({access.reason})" if access.reason else ""
            ctx.reply(f"{access.entry} +{access.flags} by {access.set_by}, {access.set_at[:10]}{why}")
    ctx.reply("End of the access list.")


@chanserv.command("ACCESS", params=2, account=True)
async def access(ctx: ServiceContext, name: str, action: str, entry: str = "", template: str = "") -> None:
    """ACCESS <channel> LIST | ADD <account or mask> <VOP | HOP | AOP | SOP | flags> | DEL <account or mask>

    The same as FLAGS, in other words.
    """
    verb = action.upper()
    if verb == "LIST":
        await flags(ctx, name)
    elif verb == "ADD" and entry and template:
        await flags(ctx, name, entry, template)
    elif verb == "DEL" and entry:
        await flags(ctx, name, entry, "-*")
    else:
        raise Refused("ACCESS <channel> LIST, ADD <who> <level> or DEL <who>")


def _xop(template: str) -> None:
    @chanserv.command(template, params=2, account=True)
    async def xop(ctx: ServiceContext, name: str, action: str, entry: str = "") -> None:
        verb = action.upper()
        if verb == "ADD" and entry:
            await flags(ctx, name, entry, template)
        elif verb == "DEL" and entry:
            await flags(ctx, name, entry, "-*")
        elif verb == "LIST":
            await flags(ctx, name)
        else:
            raise Refused(f"{template} <channel> ADD <who>, DEL <who> or LIST")

    entry = chanserv.commands[template]
    about = (
        f"{template} <channel> ADD | DEL | LIST [<account or mask>]\n\nAccess with the flags +{TEMPLATES[template]}."
    )
    chanserv.commands[template] = entry._replace(help=about)


for _template in TEMPLATES:
    _xop(_template)


@chanserv.command("AKICK", params=2, account=True)
async def akick(ctx: ServiceContext, name: str, action: str, entry: str = "", reason: str = "") -> None:
    """AKICK <channel> ADD <account or mask> [<reason>] | DEL <account or mask> | LIST

    Keeps people out of a channel.
    """
    channel, registration = _registered(ctx, name)
    verb = action.upper()
    override = _override(ctx)
    if verb == "LIST":
        require_flag(ctx.state, channel, ctx.ctx.user, "Arf", override=override)
        for item in registration.access.values():
            if "b" in item.flags:
                ctx.reply(f"{item.entry} by {item.set_by}, {item.set_at[:10]} {item.reason}".rstrip())
        ctx.reply("End of the list.")
    elif verb in ("ADD", "DEL") and entry:
        require_flag(ctx.state, channel, ctx.ctx.user, "r", override=override)
        change = "=b" if verb == "ADD" else "-b"
        await ctx.emit(
            decide_flags(ctx.state, ctx.ctx.user, name, entry, change, truncate_utf8(reason, 200), override=override)
        )
        ctx.reply("Done.")
    else:
        raise Refused("AKICK <channel> ADD <who> [<reason>], DEL <who> or LIST")


@chanserv.command("STATUS", params=1)
async def status(ctx: ServiceContext, name: str, nick: str = "") -> None:
    """STATUS <channel> [<nick>]

    Shows which flags you, or somebody, have on a channel.
    """
    channel, _ = _registered(ctx, name)
    user = ctx.state.user_by_nick(nick) if nick else ctx.ctx.user
    if user is None:
        raise Refused(f"There is no {nick}.")
    if user.uid != ctx.ctx.uid:
        require_flag(ctx.state, channel, ctx.ctx.user, "A", override=_override(ctx))
    ctx.reply(f"{user.nick} has +{flags_of(ctx.state, channel, user)} on {channel.name}.")


@chanserv.command("WHY", params=1)
async def why(ctx: ServiceContext, name: str, nick: str = "") -> None:
    """WHY <channel> [<nick>]

    Shows which entries of the access list, set by whom and when, give somebody its flags.
    """
    channel, registration = _registered(ctx, name)
    user = ctx.state.user_by_nick(nick) if nick else ctx.ctx.user
    if user is None:
        raise Refused(f"There is no {nick}.")
    if user.uid != ctx.ctx.uid:
        require_flag(ctx.state, channel, ctx.ctx.user, "A", override=_override(ctx))
    account = ctx.state.account_of(user)
    count = 0
    if account is not None and account.key == registration.founder:
        count += 1
        ctx.reply(f"{user.nick} is logged in as {account.name}, the founder.")
    for key, item in registration.access.items():
        by_account = account is not None and key == account.key
        hosts = (user.host, user.real_host, user.ip)
        if by_account or (
            "!" in key and matches_mask(item.entry, user.nick, user.username, hosts, user.ip, ctx.state.fold)
        ):
            count += 1
            how = "is logged in as" if by_account else "matches"
            ctx.reply(
                f"{user.nick} {how} {item.entry}, which has +{item.flags}, set by {item.set_by} "
                f"at {item.set_at[:19].replace('T', ' ')} UTC"
            )
    if not count:
        ctx.reply(f"Nothing on {channel.name} is about {user.nick}.")


# --- doing --------------------------------------------------------------------------------------------------------


def _giving(name: str, change: Change, about: str) -> None:
    @chanserv.command(name, params=1, account=True)
    async def give(ctx: ServiceContext, channel: str, *nicks: str) -> None:
        decision = decide_give(ctx.state, ctx.ctx.user, channel, change, list(nicks), override=_override(ctx))
        await ctx.emit(decision)
        ctx.reply("Done.")

    entry = chanserv.commands[name]
    chanserv.commands[name] = entry._replace(help=f"{name} <channel> {{<nick>}}\n\n{about}")


for _mode, _name in (("q", "OWNER"), ("a", "PROTECT"), ("o", "OP"), ("h", "HALFOP"), ("v", "VOICE")):
    _word = CHANNEL_MODES.descriptions[_mode].split(":")[0]
    _giving(_name, Change("+", _mode), f"Makes you, or others, {_word}.")
    _giving(f"DE{_name}", Change("-", _mode), f"Takes {_word} off you, or others.")


@chanserv.command("KICK", params=2, account=True)
async def kick(ctx: ServiceContext, name: str, nick: str, reason: str = "no reason given") -> None:
    """KICK <channel> <nick> [<reason>]

    Removes somebody from a channel.
    """
    text = truncate_utf8(reason, 200)
    await ctx.emit(decide_cs_kick(ctx.state, ctx.ctx.user, name, nick, text, override=_override(ctx)))


@chanserv.command("BAN", params=2, account=True)
async def ban(ctx: ServiceContext, name: str, who_: str) -> None:
    """BAN <channel> <nick or mask>

    Bans somebody from a channel.
    """
    await ctx.emit(decide_ban(ctx.state, ctx.ctx.user, name, who_))
    ctx.reply("Done.")


@chanserv.command("UNBAN", params=1, account=True)
async def unban(ctx: ServiceContext, name: str, who_: str = "") -> None:
    """UNBAN <channel> [<nick or mask>]

    Takes off the bans that hit you, or somebody.
    """
    await ctx.emit(decide_unban(ctx.state, ctx.ctx.user, name, who_))
    ctx.reply("Done.")


@chanserv.command("INVITE", params=1, account=True)
async def invite(ctx: ServiceContext, name: str, nick: str = "") -> None:
    """INVITE <channel> [<nick>]

    Invites you, or somebody, to a channel.
    """
    await ctx.emit(decide_cs_invite(ctx.state, ctx.ctx.user, name, nick))
    ctx.reply("Done.")


@chanserv.command("CLEAR", params=2, account=True)
async def clear(ctx: ServiceContext, name: str, what: str) -> None:
    """CLEAR <channel> BANS | EXCEPTS | INVITES | MODES | OPS | VOICES | USERS

    Empties a list, takes off modes, or removes everybody.
    """
    await ctx.emit(decide_clear(ctx.state, ctx.ctx.user, name, what.lower(), override=_override(ctx)))
    ctx.reply("Done.")


@chanserv.command("RECOVER", params=1, account=True)
async def recover(ctx: ServiceContext, name: str) -> None:
    """RECOVER <channel>

    Takes a channel back: nobody else is staff, nothing keeps you out.
    """
    await ctx.emit(decide_recover(ctx.state, ctx.ctx.user, name, override=_override(ctx)))
    ctx.reply("Done.")


@chanserv.command("SYNC", params=1, account=True)
async def sync(ctx: ServiceContext, name: str) -> None:
    """SYNC <channel>

    Gives members the modes that the access list gives them.
    """
    await ctx.emit(decide_sync(ctx.state, ctx.ctx.user, name))
    ctx.reply("Done.")


@chanserv.command("TOPIC", params=1, account=True)
async def topic(ctx: ServiceContext, name: str, text: str = "") -> None:
    """TOPIC <channel> [<topic>]

    Sets the topic, or removes it.
    """
    cut = truncate_utf8(text, ctx.ctx.config.limits.topiclen)
    await ctx.emit(decide_cs_topic(ctx.state, ctx.ctx.user, name, cut, override=_override(ctx)))


@chanserv.command("SET", params=2, account=True)
async def set_(ctx: ServiceContext, name: str, setting: str, value: str = "") -> None:
    """SET <channel> <setting> [<value>]

    Changes a setting: FOUNDER, SUCCESSOR, MLOCK, KEEPTOPIC, TOPICLOCK, GUARD, ENTRYMSG, DESCRIPTION and others.
    """
    if setting.lower() not in (*ON_OFF, *TEXTS):
        for known, about in {**ON_OFF, **TEXTS}.items():
            ctx.reply(f"{known.upper()}: {about}")
    decision = decide_chan_set(ctx.state, ctx.ctx.user, name, setting.lower(), value, override=_override(ctx))
    await ctx.emit(decision)
    ctx.reply(f"{setting.upper()} is set.")


# --- the past -----------------------------------------------------------------------------------------------------


def _decode(row: Row) -> tuple[Event, Stamp]:
    event = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
    return event, Stamp(row.id, row.sequence, row.timestamp, row.session_id)


@chanserv.command("HISTORY", params=1)
async def history(ctx: ServiceContext, name: str, since: str = "") -> None:
    """HISTORY <channel> [<number> | <since>]

    Shows who set which mode, topic, ban and flag when; the newest ones, or those since a time such as -2h.
    """
    channel, _ = _registered(ctx, name)
    require_flag(ctx.state, channel, ctx.ctx.user, "A", override=_override(ctx))
    count = int(since[:6]) if since.isascii() and since.isdigit() else HISTORY_DEFAULT if not since else HISTORY_LIMIT
    start = "" if not since or since.isdigit() else _moment(ctx, since)
    rows = await ctx.server.store.query_by_target(channel.key, limit=PAGE, newest=True, messages=False)
    lines: list[str] = []
    for row in rows:
        event, stamp = _decode(row)
        words = describe(event)
        if words is not None and stamp.timestamp >= start:
            lines.append(f"{stamp.timestamp[:19].replace('T', ' ')} {who(event)}: {words}")
    shown = lines[-min(count, HISTORY_LIMIT) :] if count else []
    for line in shown:
        ctx.reply(line)
    ctx.reply(f"{len(shown)} events" + (" (times are UTC)" if shown else ""))


def _moment(ctx: ServiceContext, text: str) -> str:
    try:
        return parse_moment(text, ctx.server.epoch_s())
    except ValueError as error:
        raise Refused(str(error)) from None


@chanserv.command("RESTORE", params=2, account=True)
async def restore(ctx: ServiceContext, name: str, time: str, confirm: str = "") -> None:
    """RESTORE <channel> <time> [CONFIRM]

    Shows how a channel differs from what it was at a time; with CONFIRM gives topic, modes, lists and access back.
    """
    staff = _override(ctx)
    if not staff:
        try:
            _, registration = _registered(ctx, name)
        except NumericError:
            raise Refused(f"{name} is not registered.") from None
        if registration.founder != ctx.account.key:
            raise Refused("Only the founder may do that.")
    user = ctx.ctx.user
    pending = ctx.server.pending_restores
    now_s = ctx.server.reactor.seconds()
    asked = (user.uid, ctx.state.fold(name), time)
    confirmed = confirm.upper() == "CONFIRM"
    if confirmed:
        at, until = pending.pop(asked, ("", 0.0))
        if not at or now_s > until:
            raise Refused(f"First look at what it would change: RESTORE {name} {time}")
    else:
        at = _moment(ctx, time)
    actor = Restorer(user.uid, user.nick, user.source, staff=staff)
    ctx.ctx.work += RESTORE_WORK
    try:
        found = await restore_channel(ctx.server, name, at, actor, do=confirmed, origin=ctx.ctx)
    except CannotRestore as error:
        raise Refused(str(error)) from None
    changes = found.changes
    if not changes:
        raise Refused(f"{found.channel} is as it was at {at}.")
    if confirmed:
        ctx.reply(f"{found.channel} is as it was at {at}: {len(changes)} changes.")
        return
    for words in changes:
        ctx.reply(words)
    for known in [known for known, (_, until) in pending.items() if until < now_s]:
        del pending[known]
    pending[asked] = (at, now_s + CONFIRM_S)
    ctx.reply(f"To do that within {CONFIRM_S // 60} minutes: RESTORE {found.channel} {time} CONFIRM")


@chanserv.command("FLAGLIST")
async def flaglist(ctx: ServiceContext) -> None:
    """FLAGLIST

    Shows what the flags mean.
    """
    for flag, about in FLAGS.items():
        ctx.reply(f"+{flag} {about}")
