"""The event catalogue: one class per kind of fact, its docstring is what the documentation says of it.

An event is what happened, frozen and complete: all that `apply` and a human reader need, and never a secret.
`actor_uid` is who caused it (a UID, or a word such as `server` for an actor that is no user), `target` what it
happened to (a casefolded channel name, a UID, a mask).  These two are columns of the log; every other field goes into
its payload, together with the schema version `v`, which is the struct's msgspec tag.  A field that changes meaning
needs a new version and an upcaster, because old logs are read for ever.

Every event caused by a user carries that user's nick at that moment in `nick`.
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

SERVER: Final = "server"
"""The actor of what the server does of itself: an expiry, a ping timeout, its own start and stop."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag_field="v", tag=1):
    """Any event.  Both fields are columns of the log and therefore left out of the payload."""

    event_type: ClassVar[str]
    state_free: ClassVar[bool] = False
    """True if `apply` ignores the event, so that retention may prune it on its own."""

    actor_uid: str | None = None
    target: str | None = None


class ModeDelta(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One change of one mode: `sign` is + or -, `param` as people write it, `uid` the member of a prefix mode."""

    sign: str
    mode: str
    param: str | None = None
    uid: str | None = None


# --- user ---------------------------------------------------------------------------------------------------------


class UserConnect(Event, frozen=True, kw_only=True, tag=1):
    """A client completed registration and became a user; actor and target are its new UID."""

    event_type = "user.connect"
    nick: str
    username: str
    host: str
    """The host that people see."""
    real_host: str
    ip: str
    realname: str
    modes: str
    """User modes that are set from the start, as letters."""
    node: str
    """The server (SID) that the client is connected to."""
    number: int
    """The value of the node's UID counter that this user has taken."""
    secure: bool
    certfp: str | None
    """SHA-256 fingerprint of the TLS client certificate, lower-case hex."""


class UserAttach(Event, frozen=True, kw_only=True, tag=1):
    """Another client of the user `target` is there: it shares its nick, its channels and all else."""

    event_type = "user.attach"
    nick: str
    real_host: str
    ip: str
    secure: bool


class UserDetach(Event, frozen=True, kw_only=True, tag=1):
    """A client of the user `target` is gone; the user is not, because it has others, or because it stays without."""

    event_type = "user.detach"
    nick: str
    reason: str


class UserAlwaysOn(Event, frozen=True, kw_only=True, tag=1):
    """The user `target` stays when its last client is gone, and when the server starts anew; or (`on` false) does not."""

    event_type = "user.always_on"
    nick: str
    on: bool


class UserDisconnect(Event, frozen=True, kw_only=True, tag=1):
    """A user is gone (quit, killed, timed out), and with it its memberships in `channels`."""

    event_type = "user.disconnect"
    nick: str
    """The nick of the user that is gone."""
    username: str
    host: str
    realname: str
    account: str | None
    reason: str
    channels: dict[str, str]
    """The channels that it left, and the prefix modes that it had there."""


class UserNickChange(Event, frozen=True, kw_only=True, tag=1):
    """The user `target` changed its nick from `nick` to `new_nick`, or an operator (the actor) changed it."""

    event_type = "user.nick_change"
    nick: str
    new_nick: str
    channels: list[str] = []
    """The channels that it is on, so that their history can show it."""


class UserModeChange(Event, frozen=True, kw_only=True, tag=1):
    """Modes of the user `target` changed; +o names the operator block in `oper`."""

    event_type = "user.mode_change"
    nick: str
    changes: list[ModeDelta]
    oper: str | None = None


class UserAway(Event, frozen=True, kw_only=True, tag=1):
    """A user is away with a message, or back (empty `message`)."""

    event_type = "user.away"
    nick: str
    message: str


class UserAccount(Event, frozen=True, kw_only=True, tag=1):
    """A user is logged in to an account, or logged out (empty `account`)."""

    event_type = "user.account"
    nick: str
    account: str


class UserHostChange(Event, frozen=True, kw_only=True, tag=1):
    """The user name or the host that people see of the user `target` changed."""

    event_type = "user.host_change"
    nick: str
    username: str
    host: str
    previous_username: str
    previous_host: str


class UserRealnameChange(Event, frozen=True, kw_only=True, tag=1):
    """A user changed its real name."""

    event_type = "user.realname_change"
    nick: str
    realname: str
    previous: str


# --- channel ------------------------------------------------------------------------------------------------------


class ChannelCreate(Event, frozen=True, kw_only=True, tag=1):
    """A channel came into being, because somebody joined a name that was free; `modes` are its first flags."""

    event_type = "channel.create"
    nick: str
    name: str
    modes: str


class ChannelDestroy(Event, frozen=True, kw_only=True, tag=1):
    """A channel is gone, because its last member left."""

    event_type = "channel.destroy"
    name: str


class ChannelJoin(Event, frozen=True, kw_only=True, tag=1):
    """The user `member_uid` is on the channel, with the prefix modes `prefixes`; the actor is that user or who forced it."""

    event_type = "channel.join"
    nick: str
    member_uid: str
    member: str
    """The nick of the user who is now on the channel."""
    name: str
    """The channel's name as people see it; what it will be called if this join creates it."""
    prefixes: str


class ChannelPart(Event, frozen=True, kw_only=True, tag=1):
    """The user `member_uid` left the channel; the actor is that user or who forced it."""

    event_type = "channel.part"
    nick: str
    member_uid: str
    member: str
    name: str
    reason: str
    prefixes: str
    """The prefix modes that the member had."""


class ChannelKick(Event, frozen=True, kw_only=True, tag=1):
    """The actor removed the user `member_uid` from the channel."""

    event_type = "channel.kick"
    nick: str
    member_uid: str
    member: str
    name: str
    reason: str
    prefixes: str
    """The prefix modes that the member had."""


class ChannelInvite(Event, frozen=True, kw_only=True, tag=1):
    """The actor invited the user `member_uid` to the channel."""

    event_type = "channel.invite"
    nick: str
    member_uid: str
    member: str
    by_staff: bool = False
    """Whether the actor may lift bans: then the key, the limit and earlier bans do not hold for the invited."""


class ChannelRename(Event, frozen=True, kw_only=True, tag=1):
    """A channel has another name, and all that it had before; `target` is the casefolded name that it had."""

    event_type = "channel.rename"
    nick: str
    name: str
    """The name that it had, as people saw it."""
    new_name: str
    reason: str
    named_at: str = ""
    """Since when it had that name, so that what was said under it stays its history; empty if that begins anew, as in
    old logs, and where only the case changes."""


class ChannelTopicChange(Event, frozen=True, kw_only=True, tag=1):
    """A channel's topic was set, or removed (empty `topic`)."""

    event_type = "channel.topic_change"
    nick: str
    topic: str
    set_by: str
    """nick!user@host of the setter at that moment."""
    previous: str


class ChannelModeChange(Event, frozen=True, kw_only=True, tag=1):
    """Flags, parameters or members' prefixes of a channel changed; masks are `channel.ban_add` and `channel.ban_remove`."""

    event_type = "channel.mode_change"
    nick: str
    changes: list[ModeDelta]


class ChannelBanAdd(Event, frozen=True, kw_only=True, tag=1):
    """A mask was put on one of a channel's lists: `mode` b (ban), e (exception), I (invite exception)."""

    event_type = "channel.ban_add"
    nick: str
    mode: str
    mask: str
    set_by: str
    expires: str | None = None
    """When the server will remove it by itself; a timestamp of the log's format."""


class ChannelBanRemove(Event, frozen=True, kw_only=True, tag=1):
    """A mask was taken off one of a channel's lists, by a user or, at its expiry, by the server."""

    event_type = "channel.ban_remove"
    nick: str
    mode: str
    mask: str


# --- messages -----------------------------------------------------------------------------------------------------


class MessagePart(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One line of a message of several; `concat` says that it continues the one before it."""

    text: str
    concat: bool = False


class Message(Event, frozen=True, kw_only=True, tag=1):
    """The fields of every message: all that its line needs to be sent again.

    `target` is the casefolded channel, or of a direct message the conversation: its two sides in order, with a comma
    between them; a side is the casefolded account of somebody who is logged in, or a colon and the UID.
    """

    state_free = True
    nick: str
    source: str
    """nick!user@host of the sender at that moment."""
    to: str
    """Whom it was said to: the channel's name as people see it, or the recipient's nick."""
    text: str = ""
    """What was said; empty once it was redacted."""
    parts: list[MessagePart] = []
    """The lines of a message of several, as its sender split it."""
    recipient_uid: str | None = None
    """The UID of who got a direct message."""
    account: str | None = None
    """The sender's account."""
    bot: bool = False
    """Whether the sender was marked as a bot (user mode B)."""
    tags: dict[str, str] = {}
    """Client-only tags that the sender attached."""
    relayed_by: str = ""
    """The nick of who relayed it for somebody of another network, whom `source` names."""
    redacted_by: str = ""
    """The nick of who had it redacted: text and tags are gone, that something was said is not."""


class MessagePrivmsg(Message, frozen=True, kw_only=True, tag=1):
    """Somebody said something on a channel, or to a user; written only where [history] asks for it."""

    event_type = "message.privmsg"


class MessageNotice(Message, frozen=True, kw_only=True, tag=1):
    """Somebody sent a notice to a channel, or to a user; written only where [history] asks for it."""

    event_type = "message.notice"


class MessageTagmsg(Message, frozen=True, kw_only=True, tag=1):
    """Somebody sent tags worth keeping, such as a reaction; written only where [history] asks for it."""

    event_type = "message.tagmsg"


class MessageRedact(Event, frozen=True, kw_only=True, tag=1):
    """A message was taken back: its text went from the log with this, that it was said stays."""

    event_type = "message.redact"
    state_free = True
    nick: str
    source: str
    """nick!user@host of who had it removed."""
    to: str
    """The channel's name, or the nick of the other side."""
    redacted_id: int
    """The row that was rewritten."""
    msgid: str
    reason: str
    recipient_uid: str | None = None
    """The UID of the other side of a conversation, if it is there."""


# --- services -----------------------------------------------------------------------------------------------------


class NickRegister(Event, frozen=True, kw_only=True, tag=1):
    """An account was registered; `target` is its casefolded name, and its name is its first nick."""

    event_type = "services.nick_register"
    nick: str
    account: str
    verified: bool
    """Whether the account may be used at once, or its e-mail address has to be proved first."""


class NickVerify(Event, frozen=True, kw_only=True, tag=1):
    """The e-mail address of the account `target` was proved; it may be used from now on."""

    event_type = "services.nick_verify"
    nick: str


class NickIdentify(Event, frozen=True, kw_only=True, tag=1):
    """Somebody proved to own the account `target`; the `user.account` beside it changes the state."""

    event_type = "services.nick_identify"
    state_free = True
    nick: str
    account: str
    method: str
    """How: password, or the SASL mechanism."""


class NickGroup(Event, frozen=True, kw_only=True, tag=1):
    """A nick was added to the account `target`."""

    event_type = "services.nick_group"
    nick: str
    grouped: str


class NickUngroup(Event, frozen=True, kw_only=True, tag=1):
    """A nick was taken off the account `target`."""

    event_type = "services.nick_ungroup"
    nick: str
    grouped: str


class NickDrop(Event, frozen=True, kw_only=True, tag=1):
    """The account `target` was removed, with its nicks; its channels went to successors or were dropped."""

    event_type = "services.nick_drop"
    nick: str
    account: str


class NickSet(Event, frozen=True, kw_only=True, tag=1):
    """A setting of the account `target` was changed; of a password or an e-mail address only that it was."""

    event_type = "services.nick_set"
    nick: str
    setting: str
    value: str
    """Empty: back to the default, or secret."""


class NickCert(Event, frozen=True, kw_only=True, tag=1):
    """A certificate fingerprint was added to the account `target`, or taken off it."""

    event_type = "services.nick_cert"
    nick: str
    fingerprint: str
    added: bool


class AccountReadMarker(Event, frozen=True, kw_only=True, tag=1):
    """Somebody has read a channel, or a conversation, up to a moment; `target` is the account."""

    event_type = "account.read_marker"
    nick: str
    name: str
    """The channel or nick, as the client wrote it."""
    read: str
    """The moment, in the form of server-time."""


class ChanRegister(Event, frozen=True, kw_only=True, tag=1):
    """A channel was registered to an account, its founder."""

    event_type = "services.chan_register"
    nick: str
    founder: str
    """Casefolded name of the account."""


class ChanDrop(Event, frozen=True, kw_only=True, tag=1):
    """A channel is registered no longer."""

    event_type = "services.chan_drop"
    nick: str
    founder: str


class ChanFlags(Event, frozen=True, kw_only=True, tag=1):
    """The access flags of an account, or of a mask, on a registered channel changed; empty: none any more."""

    event_type = "services.chan_flags"
    nick: str
    entry: str
    """The name of the account, or a mask nick!user@host."""
    flags: str
    previous: str
    reason: str = ""
    """Why an auto-kick (flag b) was set."""


class ChanSet(Event, frozen=True, kw_only=True, tag=1):
    """A setting of a registered channel was changed; `founder` and `successor` are settings, too."""

    event_type = "services.chan_set"
    nick: str
    setting: str
    value: str
    """Empty: back to the default."""
    previous: str


class ChanRestore(Event, frozen=True, kw_only=True, tag=1):
    """Topic, modes, lists and access of a channel were given back as they were; the events beside it do it."""

    event_type = "services.chan_restore"
    state_free = True
    nick: str
    at: str
    """The moment that was restored; a timestamp of the log's format."""


# --- metadata -----------------------------------------------------------------------------------------------------


class MetadataSet(Event, frozen=True, kw_only=True, tag=1):
    """A key of a user's or a channel's metadata was set, or removed (empty `value`); `target` is its UID or casefolded name."""

    event_type = "metadata.set"
    nick: str
    name: str
    """The nick or the channel's name that it was set on."""
    key: str
    value: str
    previous: str


# --- operators ----------------------------------------------------------------------------------------------------


class OperLogin(Event, frozen=True, kw_only=True, tag=1):
    """A user became an operator through the block `oper`; the `user.mode_change` beside it changes the state."""

    event_type = "oper.login"
    state_free = True
    nick: str
    oper: str
    oper_class: str


class OperKill(Event, frozen=True, kw_only=True, tag=1):
    """An operator disconnected the user `target`; the `user.disconnect` beside it changes the state."""

    event_type = "oper.kill"
    state_free = True
    nick: str
    member: str
    reason: str


class OperRehash(Event, frozen=True, kw_only=True, tag=1):
    """The configuration was read again, by an operator or by the signal HUP (actor `server`)."""

    event_type = "oper.rehash"
    state_free = True
    nick: str


class LineAdd(Event, frozen=True, kw_only=True, tag=1):
    """The fields of every network ban."""

    nick: str
    mask: str
    reason: str
    """What the banned are told."""
    private_reason: str
    """What only staff see."""
    set_by: str
    expires: str | None = None
    """When the server will remove it by itself; a timestamp of the log's format."""


class LineRemove(Event, frozen=True, kw_only=True, tag=1):
    """The fields of the end of every network ban."""

    nick: str
    mask: str


class KLine(LineAdd, frozen=True, kw_only=True, tag=1):
    """A K-line was set: user@host of this server's clients."""

    event_type = "oper.kline"


class UnKLine(LineRemove, frozen=True, kw_only=True, tag=1):
    """A K-line was removed, by an operator or, at its expiry, by the server."""

    event_type = "oper.unkline"


class GLine(LineAdd, frozen=True, kw_only=True, tag=1):
    """A G-line was set: user@host of the network's clients."""

    event_type = "oper.gline"


class UnGLine(LineRemove, frozen=True, kw_only=True, tag=1):
    """A G-line was removed, by an operator or, at its expiry, by the server."""

    event_type = "oper.ungline"


class DLine(LineAdd, frozen=True, kw_only=True, tag=1):
    """A D-line was set: an address or network, refused before it can register."""

    event_type = "oper.dline"


class UnDLine(LineRemove, frozen=True, kw_only=True, tag=1):
    """A D-line was removed, by an operator or, at its expiry, by the server."""

    event_type = "oper.undline"


class ZLine(LineAdd, frozen=True, kw_only=True, tag=1):
    """A Z-line was set: the same as a D-line, for the whole network."""

    event_type = "oper.zline"


class UnZLine(LineRemove, frozen=True, kw_only=True, tag=1):
    """A Z-line was removed, by an operator or, at its expiry, by the server."""

    event_type = "oper.unzline"


class RLine(LineAdd, frozen=True, kw_only=True, tag=1):
    """A R-line was set: a real name."""

    event_type = "oper.rline"


class UnRLine(LineRemove, frozen=True, kw_only=True, tag=1):
    """A R-line was removed, by an operator or, at its expiry, by the server."""

    event_type = "oper.unrline"


class Shun(LineAdd, frozen=True, kw_only=True, tag=1):
    """A shun was set: user@host of people whose commands are ignored."""

    event_type = "oper.shun"


class UnShun(LineRemove, frozen=True, kw_only=True, tag=1):
    """A shun was removed, by an operator or, at its expiry, by the server."""

    event_type = "oper.unshun"


class FilterAdd(Event, frozen=True, kw_only=True, tag=1):
    """A spam filter was set: messages that match the regular expression (RE2) `pattern` meet `action`."""

    event_type = "oper.filter_add"
    nick: str
    pattern: str
    action: str
    """block, warn or kill."""
    reason: str
    set_by: str


class FilterRemove(Event, frozen=True, kw_only=True, tag=1):
    """A spam filter was removed."""

    event_type = "oper.filter_remove"
    nick: str
    pattern: str


# --- plugins ------------------------------------------------------------------------------------------------------


class PluginLoad(Event, frozen=True, kw_only=True, tag=1):
    """The plugin `target` was loaded, or loaded again, with the capabilities that it asks for and is granted."""

    event_type = "plugin.load"
    state_free = True
    nick: str
    version: str
    capabilities: list[str]


class PluginUnload(Event, frozen=True, kw_only=True, tag=1):
    """The plugin `target` runs no longer; what it has stored is kept."""

    event_type = "plugin.unload"
    state_free = True
    nick: str
    reason: str


class PluginFault(Event, frozen=True, kw_only=True, tag=1):
    """The plugin `target` did something wrong; a `fatal` fault ended its process."""

    event_type = "plugin.fault"
    state_free = True
    kind: str
    """error, timeout, memory, protocol, overflow, exit, load."""
    text: str
    fatal: bool
    repeated: int = 0
    """How often the same fault came since it was last recorded."""


class PluginStore(Event, frozen=True, kw_only=True, tag=1):
    """The plugin `target` changed what it keeps: keys and their new values, as JSON, and keys that it removed."""

    event_type = "plugin.store"
    values: dict[str, str]
    removed: list[str]


# --- admin API ----------------------------------------------------------------------------------------------------


class AdminAction(Event, frozen=True, kw_only=True, tag=1):
    """Somebody asked for something through the admin API; the events beside it do it."""

    event_type = "admin.action"
    state_free = True
    nick: str
    """Who: the name of the user, or `token.NAME`."""
    action: str
    """The last part of the path, such as `kill`."""
    arguments: dict[str, str]
    """What was asked; keys of channels are masked."""


# --- server -------------------------------------------------------------------------------------------------------


class ServerStart(Event, frozen=True, kw_only=True, tag=1):
    """A server started; users that the log still had on this node, because it crashed, are ended by this event."""

    event_type = "server.start"
    node: str
    name: str
    version: str
    casemapping: str
    channel_modes: str
    """Flags that a new channel starts with."""


class ServerStop(Event, frozen=True, kw_only=True, tag=1):
    """A server stopped in order."""

    event_type = "server.stop"
    state_free = True
    node: str
    name: str
    reason: str


class ServerPrune(Event, frozen=True, kw_only=True, tag=1):
    """Retention deleted events by the rules of the configuration; `actor_uid` is `server`, or who asked for it."""

    event_type = "server.prune"
    state_free = True
    nick: str
    events: int
    """How many."""
    horizon_id: int = 0
    """The event that the log begins behind, if those that change the state went, too."""
    horizon: str = ""
    """Its moment."""


class ServerRedact(Event, frozen=True, kw_only=True, tag=1):
    """Events were rewritten so that somebody is in them no longer; never who that was."""

    event_type = "server.redact"
    state_free = True
    nick: str
    what: str
    """account, nick or host: somebody was erased; addresses: old addresses became pseudonyms."""
    events: int
    """How many events were rewritten."""
    checkpoints: int = 0
    """How many checkpoints were made anew."""


def _catalogue() -> dict[str, type[Event]]:
    classes: dict[str, type[Event]] = {}
    pending = Event.__subclasses__()
    while pending:
        cls = pending.pop(0)
        name: str | None = cls.__dict__.get("event_type")
        if name is None:
            pending[:0] = cls.__subclasses__()
        elif name in classes:
            raise TypeError(f"two classes for {name}")
        else:
            classes[name] = cls
    return classes


EVENT_TYPES: Final[dict[str, type[Event]]] = _catalogue()
"""Every event class by its `event_type`, in the order of this file."""
