"""The API: what a plugin may ask of the server, the same for Lua and Python.

Every act goes the way of a user's: rules decide, the bus orders and records, with the actor `plugin:NAME`.  What the
server refuses raises PluginRefused, what is wrong in the plugin PluginError; both are the plugin's to deal with.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import txaio
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from slircd.commands.delivery import Said
from slircd.commands.registry import COMMANDS, Command, Context, Phase
from slircd.events.bus import Record, StoreUnavailable
from slircd.events.clock import format_timestamp
from slircd.events.codec import EncodeError
from slircd.events.types import Event, UserConnect
from slircd.plugins.functions import FUNCTIONS, Lua, check, function
from slircd.plugins.http import PluginHttp
from slircd.plugins.interface import CallContext, PluginBusy, PluginError, PluginFailed, PluginRefused
from slircd.plugins.storage import Storage
from slircd.plugins.views import EVENT_NAMES, Batch, is_hidden, known_pattern, view_account, view_channel, view_user
from slircd.rules.channel import decide_kick, decide_topic
from slircd.rules.history import decide_message, is_kept_of_channel
from slircd.rules.lookup import stand_in
from slircd.rules.message import check_channel_text, check_private_text, is_silenced
from slircd.rules.modes import ModeLimits, decide_channel_modes
from slircd.rules.user import disconnect_event
from slircd.state.model import SERVICES, Channel, User
from slircd.wire.formatting import one_line
from slircd.wire.line import Line
from slircd.wire.masks import matches_glob
from slircd.wire.message import truncate_utf8
from slircd.wire.modes import CHANNEL_MODES, Change, Kind, parse_changes
from slircd.wire.names import valid_nick
from slircd.wire.numerics import ERR_NOPRIVILEGES, NumericError, StandardReply

if TYPE_CHECKING:
    from slircd.config.sections import PluginLimits
    from slircd.network.server import IRCServer

txaio.use_twisted()
log = txaio.make_logger()

Sink = Callable[[Batch, bool], None]
"""Takes events, and whether its plugin may see real hosts."""

LIST_PAGE: Final = 500
LIST_SCANNED: Final = 5000
"""Channels that list_channels gives, and looks at, in one call."""

SHORTEST_TIMER_S: Final = 0.1
LONGEST_TIMER_S: Final = 30 * 86_400.0

TEXT: Final = Lua("string")


class Bucket:
    """Calls of the API: so many at once, then so many per second."""

    def __init__(self, rate: float, seconds: Callable[[], float]) -> None:
        self._rate = rate
        self._seconds = seconds
        self._tokens = 4 * rate
        self._at = seconds()

    def take(self) -> bool:
        """Whether one more call is within the limit."""
        now = self._seconds()
        self._tokens = min(4 * self._rate, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Identity:
    """As whom a plugin speaks: `nick` is that of its pseudo-client, or None for the server."""

    def __init__(self, nick: str | None, about: str) -> None:
        self.nick = nick
        self.about = about


class PluginApi:
    """One plugin's door to the server.

    What it registers stays invisible until `publish` shows that it was loaded: `claims` is asked whether a command or
    nick is another plugin's.
    """

    def __init__(
        self,
        server: IRCServer,
        name: str,
        *,
        identity: Identity,
        limits: PluginLimits,
        capabilities: Callable[[], frozenset[str]],
        claims: Callable[[str, str], str | None],
        storage: Storage,
        online: set[str],
        log: Callable[[str], None],
        settings: dict[str, Any],
        http: PluginHttp | None = None,
    ) -> None:
        self.name = name
        self.actor: Final = f"plugin:{name}"
        self.settings = settings
        self.commands: dict[str, Command] = {}
        self.listeners: list[tuple[str, Sink]] = []
        self.services: dict[str, tuple[str, Callable[..., Any]]] = {}
        """Casefolded nick to UID and handler."""
        self._nicks: dict[str, str] = {}
        """Casefolded nick of a service to the nick as it is written."""
        self.denied = 0
        """Calls without the capability."""
        self.calls = 0
        """Calls of the API."""
        self.own: dict[int, None] = {}
        """Ids of the newest events that the plugin caused: it is not told of them."""
        self.current: tuple[int, CallContext] | None = None
        """The call of a command or service that is going on, and its number."""
        self._server = server
        self._identity = identity
        self._limits = limits
        self._capabilities = capabilities
        self._claims = claims
        self._storage = storage
        self._online = online
        """UIDs of the plugin's services that are on the network; one set for all instances of the plugin."""
        self._log = log
        self._http = http
        self._bucket = Bucket(limits.calls_per_s, server.reactor.seconds)
        self._timers: dict[int, IDelayedCall] = {}
        self._timer_ids = 0
        self._ended = False
        self._paused: PluginBusy | None = None
        self.failed: Callable[[PluginFailed], None] = lambda failed: None
        """Told of failures of native handlers; those of Lua are told of by its process."""
        self.before_call: Callable[[], None] = lambda: None
        """Called before a command or service is, so that it hears of what happened before."""
        self.changed: Callable[[], None] = lambda: None
        """Told that commands, services or listeners have changed."""

    # --- for the server -------------------------------------------------------------------------------------------

    def invoke(self, name: str, arguments: list[Any]) -> Any:
        """Call a function of the table for the plugin; a value or a Deferred.

        Raises PluginError and PluginRefused.
        """
        entry = FUNCTIONS.get(name)
        if entry is None:
            raise PluginError(f"api.{name} does not exist")
        self._count(name)
        if entry.capability is not None:
            self.require(entry.capability, name)
        checked = check(entry, arguments)
        try:
            result = getattr(self, name)(*checked)
        except NumericError as error:
            raise PluginRefused(refusal(error)) from None
        except StandardReply as error:
            raise PluginRefused(error.text) from None
        if isinstance(result, Deferred):
            result.addErrback(_as_refusal)
        return result

    def _count(self, name: str) -> None:
        self.calls += 1
        if self._ended:
            raise PluginError("the plugin is unloaded")
        if not self._bucket.take():
            raise PluginError(f"{name}: more than {self._limits.calls_per_s} calls per second")

    def subscribe(self, arguments: list[Any], sink: Sink) -> None:
        """As register_event_listener, with a sink that is the plugin's only one."""
        self._count("register_event_listener")
        [pattern] = check(FUNCTIONS["register_event_listener"], arguments)
        self._check_pattern(pattern)
        self.listen(pattern, sink)

    def has(self, capability: str) -> bool:
        """Whether the plugin asks for a capability and is granted it now."""
        return capability in self._capabilities()

    def require(self, capability: str, what: str) -> None:
        """Raise PluginError unless the plugin has `capability`."""
        if not self.has(capability):
            self.denied += 1
            raise PluginError(f'{what} needs the capability "{capability}", which {self.name} does not have')

    @property
    def capabilities(self) -> frozenset[str]:
        """What the plugin asks for and is granted now."""
        return self._capabilities()

    def open(self) -> None:
        """Before on_load: the pseudo-client that the plugin speaks as, if it is to have one.

        Raises PluginError and PluginRefused if it cannot have its nick.
        """
        if self._identity.nick is not None:
            self.register_service(self._identity.nick, self._introduce)

    def _introduce(self, ctx: CallContext, text: str) -> None:
        """What the pseudo-client says to who speaks to it, unless the plugin registers a service of this nick."""
        ctx.reply(self._identity.about)
        if self.commands:
            ctx.reply(f"Commands: {' '.join(sorted(self.commands))}")

    def publish(self) -> None:
        """The plugin is loaded: its services come on-line."""
        wanted = {uid: key for key, (uid, _) in self.services.items()}
        for uid, key in wanted.items():
            if uid not in self._server.state.users:
                self._connect(uid, key)
        self._take_off(self._online - wanted.keys())

    def _take_off(self, uids: set[str]) -> None:
        for uid in sorted(uids):
            self._online.discard(uid)
            user = self._server.state.users.get(uid)
            if user is not None:
                self.act([disconnect_event(user, self.actor, "Unloaded")])

    def pause(self, why: PluginBusy) -> None:
        """Nothing of the plugin happens until there is another instance; who calls its commands is told why."""
        self._paused = why
        self._stop_timers()
        self.listeners.clear()

    def end(self) -> None:
        """Nothing of the plugin happens any more."""
        self._ended = True
        self._stop_timers()
        self.commands.clear()
        self.listeners.clear()

    def _stop_timers(self) -> None:
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
        self._timers.clear()

    def disconnect(self) -> None:
        """The plugin's services leave the network."""
        self.services.clear()
        self._take_off(set(self._online))

    def owns(self, user: User) -> bool:
        """Whether a user is one of the plugin's services."""
        return user.uid == self.actor or user.uid.startswith(f"{self.actor}:")

    def act(self, events: Iterable[Event]) -> Deferred[Any]:
        """Give a decision of the plugin to the bus."""
        emitted = self._server.bus.emit(events)
        emitted.addCallback(self._note_own)
        emitted.addErrback(_as_refusal)
        emitted.addErrback(_forget_refusal)
        return emitted

    def _decide(self, events: Iterable[Event]) -> Deferred[Any]:
        return self._server.bus.emit(list(events)).addCallback(self._note_own)

    def _note_own(self, records: tuple[Record, ...]) -> bool:
        for record in records:
            self.own[record.stamp.id] = None
        for id_ in list(islice(self.own, max(0, len(self.own) - 2000))):
            del self.own[id_]
        return True

    def _connect(self, uid: str, key: str) -> None:
        nick = self._nicks[key]
        self._online.add(uid)
        self.act(
            [
                UserConnect(
                    actor_uid=uid,
                    target=uid,
                    nick=nick,
                    username=nick[: self._server.config.limits.userlen],
                    host=SERVICES,
                    real_host=SERVICES,
                    ip="",
                    realname=self._identity.about,
                    modes="iB",
                    node=SERVICES,
                    number=0,
                    secure=False,
                    certfp=None,
                )
            ]
        )

    # --- log ------------------------------------------------------------------------------------------------------

    @function()
    def log(self, text: Annotated[str, Lua("string", "what to write", raw=True)]) -> bool:
        """Writes a line to the server's log, with the plugin's name; `print` does the same."""
        self._log(text)
        return True

    # --- commands, services, events, timers -----------------------------------------------------------------------

    @function()
    def register_command(
        self,
        name: Annotated[str, Lua("string", "letters and digits; GREET is called with /GREET")],
        handler: Annotated[Callable[..., Any], Lua("fun(ctx: Context, args: string[])")],
        options: Annotated[
            dict[str, Any] | None, Lua("CommandOptions", "help, min_args, oper: text, least arguments, operators only")
        ] = None,
    ) -> bool:
        """Makes a command for registered users.  Commands of the server, and of other plugins, cannot be replaced.

        An argument in front that names a channel which the caller is on becomes `ctx.channel` and leaves `args`; without
        one `ctx.channel` is the caller's only channel, else the caller's nick.
        """
        options = options or {}
        key = name.upper()
        if not (
            key.isascii() and key.replace("-", "").replace("_", "").isalnum() and key[0].isalpha() and len(key) <= 32
        ):
            raise PluginError(f"register_command: {name!r} is no name of a command")
        if key in COMMANDS:
            raise PluginError(f"register_command: {key} is a command of the server")
        other = self._claims("command", key)
        if other is not None:
            raise PluginError(f"register_command: {key} is a command of the plugin {other}")
        if key not in self.commands and len(self.commands) >= self._limits.commands:
            raise PluginError(f"register_command: more than {self._limits.commands} commands")
        help_text = _option(options, "help", str, f"A command of the plugin {self.name}.")
        oper = _option(options, "oper", bool, False)
        least = _option(options, "min_args", int, 0)
        unknown = options.keys() - {"help", "min_args", "oper"}
        if unknown:
            raise PluginError(f"register_command: unknown option {min(unknown)}; known are help, min_args, oper")
        if not 0 <= least <= 14:
            raise PluginError("register_command: min_args must be a number from 0 to 14")

        async def run(ctx: Context, *words: str) -> None:
            if oper and not ctx.is_oper:
                raise NumericError(ERR_NOPRIVILEGES)
            await self._run_command(ctx, key, handler, list(words))

        text = f"{key}  (plugin {self.name})\n\n{_one_line(help_text)}"
        self.commands[key] = Command(key, run, Phase.REGISTERED, least, None, None, False, text)
        self.changed()
        return True

    async def _run_command(self, ctx: Context, key: str, handler: Callable[..., Any], words: list[str]) -> None:
        channel, args = self._about(ctx, words)
        await self._call(ctx, key, handler, self._context(ctx, channel=channel, service=None), args)

    def _about(self, ctx: Context, words: list[str]) -> tuple[str, list[str]]:
        """What ctx.channel is, and the arguments that are left."""
        state = ctx.state
        memberships = state.memberships[ctx.uid]
        if words and words[0].startswith("#"):
            named = state.channel_by_name(words[0])
            if named is not None and named.key in memberships:
                return named.name, words[1:]
        if len(memberships) == 1:
            return state.channels[next(iter(memberships))].name, words
        return ctx.nick, words

    def _context(self, ctx: Context, *, channel: str | None, service: str | None) -> CallContext:
        user = ctx.user

        def reply(text: str) -> None:
            for line in text.splitlines()[:50]:
                if service is None:
                    ctx.notice(line)
                else:
                    body = f":{service}!{service}@{SERVICES} NOTICE {ctx.nick} :{line}"
                    ctx.send(Line(body, timestamp=self._server.timestamp(), bot=True))

        return CallContext(
            nick=user.nick,
            uid=user.uid,
            account=user.account,
            is_oper=ctx.is_oper,
            channel=channel,
            service=service,
            reply=reply,
        )

    async def _call(
        self, ctx: Context, what: str, handler: Callable[..., Any], context: CallContext, argument: Any
    ) -> None:
        try:
            if self._paused is not None:
                raise self._paused
            self.before_call()
            await self._run(handler, context, argument)
        except PluginBusy as error:
            raise StandardReply("FAIL", "TEMPORARILY_UNAVAILABLE", text=str(error), command=what) from None
        except PluginFailed:
            raise StandardReply(
                "FAIL", "PLUGIN_FAILED", text=f"The plugin {self.name} failed; operators are told", command=what
            ) from None

    @function()
    def register_service(
        self,
        nick: Annotated[str, Lua("string", "nick of the pseudo-client")],
        handler: Annotated[Callable[..., Any], Lua("fun(ctx: Context, text: string)")],
    ) -> bool:
        """Makes a service: a pseudo-client that people message as they message NickServ.

        What is said to it reaches the handler only; it is not logged, and no other plugin hears it.  `ctx.reply` answers
        as the service.
        """
        server = self._server
        key = server.state.fold(nick)
        if not valid_nick(nick, server.config.limits.nicklen, precis=server.state.casemap.is_precis):
            raise PluginError(f"register_service: {nick!r} is no nick")
        own = self._identity.nick is not None and server.state.fold(self._identity.nick) == key
        uid = self.actor if own else f"{self.actor}:{key}"
        other = self._claims("service", key)
        if other is not None:
            raise PluginError(f"register_service: {nick} is a service of the plugin {other}")
        holder = server.state.user_by_nick(nick)
        if holder is not None and not self.owns(holder):
            raise PluginRefused(f"the nick {nick} is in use")
        if server.state.owner_of_nick(nick) is not None:
            raise PluginRefused(f"the nick {nick} is registered")
        if key not in self.services and len(self.services) >= self._limits.services:
            raise PluginError(f"register_service: more than {self._limits.services} services")
        self._nicks[key] = nick
        self.services[key] = (uid, handler)
        self.changed()
        return True

    async def serve(self, key: str, ctx: Context, text: str) -> None:
        """Hand what was said to a service to its handler."""
        _, handler = self.services[key]
        nick = self._nicks[key]
        if text.startswith("\x01"):
            return
        await self._call(ctx, nick, handler, self._context(ctx, channel=None, service=nick), text)

    @function()
    def register_event_listener(
        self,
        pattern: Annotated[str, Lua("string", 'name of an event, "channel.*", or "*"')],
        handler: Annotated[Callable[..., Any] | None, Lua("fun(event: Event)")] = None,
    ) -> bool:
        """Has the handler called with events, in order, once they are in the log.

        The fields of the payload and the actor's `nick` are fields of the event; see docs/events.md for what there is.
        What is said on channels (`message.privmsg`, `message.notice`) needs the capability "messages", `oper.*` needs
        "see-hidden", `services.*` needs "accounts", and what happens on secret channels "see-hidden"; without it nothing
        comes.  A plugin never hears of what it did itself.
        """
        self._check_pattern(pattern)
        if handler is None:
            raise PluginError("register_event_listener: argument 2 (handler) must be a function, not nil")
        listener = handler

        def sink(batch: Batch, hosts: bool) -> None:
            for view in batch.views:
                self.run_quietly(listener, view.fields(hosts=hosts))

        self.listen(pattern, sink)
        return True

    @staticmethod
    def _check_pattern(pattern: str) -> None:
        if not known_pattern(pattern):
            near = difflib.get_close_matches(pattern, EVENT_NAMES, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise PluginError(f"register_event_listener: no event is called {pattern!r}{hint}")

    def listen(self, pattern: str, sink: Sink) -> None:
        """Have `sink` given the views of events; raises PluginError for too many."""
        if len(self.listeners) >= self._limits.listeners:
            raise PluginError(f"register_event_listener: more than {self._limits.listeners} listeners")
        self.listeners.append((pattern, sink))
        self.changed()

    @function()
    def after(
        self,
        seconds: Annotated[float, Lua("number", "0.1 or more")],
        handler: Annotated[Callable[..., Any], Lua("fun()")],
    ) -> int:
        """Has the handler called once, after so many seconds; returns a number for `cancel`."""
        return self._timer(seconds, handler, repeat=False)

    @function()
    def every(
        self,
        seconds: Annotated[float, Lua("number", "0.1 or more")],
        handler: Annotated[Callable[..., Any], Lua("fun()")],
    ) -> int:
        """Has the handler called again and again; returns a number for `cancel`."""
        return self._timer(seconds, handler, repeat=True)

    @function()
    def cancel(self, timer: Annotated[int, Lua("integer", "what `after` or `every` has returned")]) -> bool:
        """Stops a timer; false if there is none of this number any more."""
        found = self._timers.pop(timer, None)
        if found is not None and found.active():
            found.cancel()
        return found is not None

    def _timer(self, seconds: float, handler: Callable[..., Any], *, repeat: bool) -> int:
        if not SHORTEST_TIMER_S <= seconds <= LONGEST_TIMER_S:
            raise PluginError(f"a timer takes from {SHORTEST_TIMER_S} to {LONGEST_TIMER_S:.0f} seconds")
        if len(self._timers) >= self._limits.timers:
            raise PluginError(f"more than {self._limits.timers} timers")
        self._timer_ids += 1
        number = self._timer_ids
        reactor = self._server.reactor

        running = False

        def fire() -> None:
            nonlocal running
            del self._timers[number]
            if repeat:
                self._timers[number] = reactor.callLater(seconds, fire)
            # A handler that is slower than its timer skips turns: they do not pile up.
            if not running:
                running = True
                self.run_quietly(handler).addBoth(done)

        def done(_: object) -> None:
            nonlocal running
            running = False

        self._timers[number] = reactor.callLater(seconds, fire)
        return number

    def run_quietly(self, handler: Callable[..., Any], *arguments: Any) -> Deferred[None]:
        """Call a handler that nobody waits for; its failures are recorded."""
        done = self._run(handler, *arguments)
        done.addErrback(lambda failure: failure.trap(PluginFailed, PluginBusy) and None)
        return done

    def _run(self, handler: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Call a handler, plain or async, of Lua or Python.  The Deferred fails with PluginFailed or PluginBusy."""
        done = maybeDeferred(self._coerce, handler, *arguments)
        done.addErrback(self._native_failure)
        return done

    @staticmethod
    def _coerce(handler: Callable[..., Any], *arguments: Any) -> Any:
        result = handler(*arguments)
        return ensureDeferred(result) if inspect.iscoroutine(result) else result

    def _native_failure(self, failure: Failure) -> Failure:
        error = failure.value
        if isinstance(error, (PluginFailed, PluginBusy)):
            return failure
        failed = PluginFailed("error", f"{type(error).__name__}: {error}"[:400])
        log.failure("the plugin {name} failed", name=self.name, failure=failure)
        self.failed(failed)
        return Failure(failed)

    # --- reading --------------------------------------------------------------------------------------------------

    @function()
    def get_user(self, nick: Annotated[str, Lua("string")]) -> Annotated[dict[str, Any] | None, Lua("User?")]:
        """A snapshot of the user who has this nick, or nil."""
        user = self._server.state.user_by_nick(nick)
        return None if user is None else view_user(self._server.state, user, self._capabilities())

    @function()
    def get_channel(self, name: Annotated[str, Lua("string")]) -> Annotated[dict[str, Any] | None, Lua("Channel?")]:
        """A snapshot of a channel with its first thousand members, or nil; its key is masked.

        Secret and private channels need the capability "see-hidden".
        """
        channel = self._visible(name)
        return None if channel is None else view_channel(self._server.state, channel)

    def _visible(self, name: str) -> Channel | None:
        channel = self._server.state.channel_by_name(name)
        return None if channel is None or (is_hidden(channel) and not self.has("see-hidden")) else channel

    @function()
    def list_channels(
        self,
        mask: Annotated[str | None, Lua("string?", "with * and ?; without it all")] = None,
        start: Annotated[int | None, Lua("integer?", "`next` of the page before")] = None,
    ) -> Annotated[dict[str, Any], Lua("ChannelList")]:
        """A page of the channels: `channels` (name, member_count, topic), and `next` where there are more."""
        state = self._server.state
        at = max(start or 0, 0)
        found: list[dict[str, Any]] = []
        for channel in islice(state.channels.values(), at, at + LIST_SCANNED):
            at += 1
            if is_hidden(channel) and not self.has("see-hidden"):
                continue
            if mask is None or matches_glob(state.fold(mask), channel.key):
                topic = channel.topic.text if channel.topic is not None else None
                found.append({"name": channel.name, "member_count": len(channel.members), "topic": topic})
            if len(found) >= LIST_PAGE:
                break
        more = at < len(state.channels)
        return {"channels": found, "next": at} if more else {"channels": found}

    @function()
    def now(self) -> float:
        """The server's clock: seconds since 1970; events have the same as `time`."""
        return float(self._server.epoch_s())

    @function("accounts")
    def get_account(self, name: Annotated[str, Lua("string")]) -> Annotated[dict[str, Any] | None, Lua("Account?")]:
        """A snapshot of a registered account, or nil."""
        account = self._server.state.account_named(name)
        return None if account is None else view_account(account)

    # --- speaking -------------------------------------------------------------------------------------------------

    @function("send")
    def send_privmsg(
        self,
        target: Annotated[str, Lua("string", "nick or channel")],
        text: Annotated[str, Lua("string", "one line")],
        source: Annotated[str | None, Lua("string?", "nick of one of the plugin's own services")] = None,
    ) -> Annotated[Any, Lua("boolean")]:
        """Sends a message, as the plugin's pseudo-client or the server (send_as in config.toml)."""
        return self._say("PRIVMSG", target, text, source)

    @function("send")
    def send_notice(
        self,
        target: Annotated[str, Lua("string", "nick or channel")],
        text: Annotated[str, Lua("string", "one line")],
        source: Annotated[str | None, Lua("string?", "nick of one of the plugin's own services")] = None,
    ) -> Annotated[Any, Lua("boolean")]:
        """Sends a notice, which no client answers automatically."""
        return self._say("NOTICE", target, text, source)

    @function("send")
    def send_message(
        self,
        target: Annotated[str, Lua("string", "nick or channel")],
        text: Annotated[str, Lua("string", "one line")],
        source: Annotated[str | None, Lua("string?", "nick of one of the plugin's own services")] = None,
    ) -> Annotated[Any, Lua("boolean")]:
        """The same as send_privmsg."""
        return self._say("PRIVMSG", target, text, source)

    @function("send")
    def reply(self, call: Annotated[int, Lua("integer")], text: Annotated[str, Lua("string", raw=True)]) -> bool:
        """Answers whoever runs the command or speaks to the service; called as `ctx.reply(text)`."""
        if self.current is None or self.current[0] != call:
            raise PluginRefused("the call that this would answer is over: use api.send_notice")
        self.current[1].reply(text.replace("\0", "").replace("\r", ""))
        return True

    def _speaker(self, source: str | None) -> tuple[User, str]:
        """The user who speaks, or its stand-in, and the source of the line."""
        state = self._server.state
        uid = self.actor
        if source is not None:
            found = self.services.get(state.fold(source))
            if found is None:
                raise PluginError(f"{source} is no service of this plugin")
            uid = found[0]
        user = state.users.get(uid)
        if user is None:
            return stand_in(self.actor), self._server.server_name
        return user, user.source

    def _say(self, verb: str, target: str, text: str, source: str | None) -> Any:
        if not text:
            raise PluginError("the text is empty")
        server = self._server
        speaker, prefix = self._speaker(source)
        state = server.state
        if target.startswith("#"):
            channel = self._visible(target)
            service = None if channel is None else server.channels.get(channel.key)
            if channel is None or service is None:
                raise PluginRefused(f"no such channel: {target}")
            said = check_channel_text(state, channel, speaker, text, notice=verb == "NOTICE", override=True)
            if server.config.history.channels and is_kept_of_channel(channel):
                events = decide_message(state, speaker, verb, channel, Said(verb, said))
                return self._decide([msgspec.structs.replace(event, source=prefix) for event in events])
            line = self._line(f":{prefix} {verb} {channel.name} :{said}")
            for session in service.sessions:
                if session not in service.deaf:
                    session.send(line)
            return True
        user = state.user_by_nick(target)
        if user is None or user.is_service:
            raise PluginRefused(f"no such nick: {target}")
        check_private_text(speaker, user, text, server.accepts.allows)
        line = self._line(f":{prefix} {verb} {user.nick} :{text}")
        for session in server.users.sessions_of(user.uid):
            if not (session.silenced and is_silenced(state, speaker, session.silenced.values())):
                session.send(line)
        return True

    def _line(self, body: str) -> Line:
        return Line(body, timestamp=self._server.timestamp(), msgid=self._server.new_msgid(), bot=True)

    # --- acting ---------------------------------------------------------------------------------------------------

    def _channel(self, name: str) -> Channel:
        channel = self._visible(name)
        if channel is None:
            raise PluginRefused(f"no such channel: {name}")
        return channel

    @function("kick")
    def kick_user(
        self,
        channel: Annotated[str, Lua("string")],
        nick: Annotated[str, Lua("string")],
        reason: Annotated[str | None, Lua("string?")] = None,
    ) -> Annotated[Any, Lua("boolean")]:
        """Removes a member from a channel.  Services cannot be kicked."""
        text = truncate_utf8(reason or self.name, self._server.config.limits.kicklen)
        found = self._channel(channel)
        return self._decide(decide_kick(self._server.state, self.actor, found.name, nick, text, override=True))

    @function("topics")
    def set_topic(
        self, channel: Annotated[str, Lua("string")], topic: Annotated[str, Lua("string", "empty removes it")]
    ) -> Annotated[Any, Lua("boolean")]:
        """Sets a channel's topic."""
        found = self._channel(channel)
        limit = self._server.config.limits.topiclen
        return self._decide(decide_topic(self._server.state, self.actor, found.name, topic, limit, override=True))

    @function("modes")
    def set_modes(
        self, channel: Annotated[str, Lua("string")], modes: Annotated[str, Lua("string", 'as in MODE: "+o-m ann"')]
    ) -> Annotated[Any, Lua("boolean")]:
        """Changes modes of a channel, and members' prefixes; masks are for add_ban."""
        parsed = parse_changes(modes.split(), CHANNEL_MODES)
        if parsed.unknown or parsed.missing:
            raise PluginError(f"set_modes: {modes!r} has unknown modes, or modes without their parameter")
        lists = [change for change in parsed.changes if CHANNEL_MODES.kinds[change.mode] is Kind.LIST]
        if lists:
            raise PluginError("set_modes: lists of masks are changed with add_ban and remove_ban")
        return self._modes(channel, parsed.changes)

    @function("bans")
    def add_ban(
        self,
        channel: Annotated[str, Lua("string")],
        mask: Annotated[
            str, Lua("string", "a mask or an extended ban; ~t:MINUTES:MASK ends by itself, ~m:MASK quiets")
        ],
        mode: Annotated[str | None, Lua("string?", '"b" (the default), "e" or "I"')] = None,
    ) -> Annotated[Any, Lua("boolean")]:
        """Puts a mask on one of a channel's lists."""
        return self._modes(channel, [Change("+", _list_mode(mode), mask)])

    @function("bans")
    def remove_ban(
        self,
        channel: Annotated[str, Lua("string")],
        mask: Annotated[str, Lua("string")],
        mode: Annotated[str | None, Lua("string?", '"b" (the default), "e" or "I"')] = None,
    ) -> Annotated[Any, Lua("boolean")]:
        """Takes a mask off one of a channel's lists."""
        return self._modes(channel, [Change("-", _list_mode(mode), mask)])

    def _modes(self, name: str, changes: list[Change]) -> Deferred[Any]:
        server = self._server
        channel = self._channel(name)
        limits = server.config.limits
        decided = decide_channel_modes(
            server.state,
            self.actor,
            channel,
            changes,
            ModeLimits(limits.list_entries, limits.keylen),
            lambda minutes: format_timestamp(server.epoch_s() + 60 * minutes),
            override=True,
        )
        if decided.refused:
            raise PluginRefused(refusal(decided.refused[0]))
        return self._decide(decided.events)

    # --- storage --------------------------------------------------------------------------------------------------

    @function("storage")
    def storage_get(self, key: Annotated[str, Lua("string", raw=True)]) -> Annotated[object, Lua("any")]:
        """The value that the plugin keeps under a key, or nil."""
        return self._storage.get(key)

    @function("storage")
    def storage_set(
        self,
        key: Annotated[str, Lua("string", "at most 128 bytes", raw=True)],
        value: Annotated[object, Lua("any", "text, number, boolean or table, at most 4096 bytes as JSON")],
    ) -> bool:
        """Keeps a value, in the log: it outlives the plugin and the server.

        Changes are written about every half second, several to one key once; a crash can lose those.
        """
        self._storage.set(key, value)
        return True

    @function("storage")
    def storage_delete(self, key: Annotated[str, Lua("string", raw=True)]) -> bool:
        """Forgets a key; false if there is none."""
        return self._storage.delete(key)

    @function("storage")
    def storage_keys(
        self, prefix: Annotated[str | None, Lua("string?", "what they begin with", raw=True)] = None
    ) -> Annotated[list[str], Lua("string[]")]:
        """The keys that the plugin keeps, sorted; at most a thousand."""
        return self._storage.keys(prefix or "")

    # --- the outside ----------------------------------------------------------------------------------------------

    @function("http")
    def http_request(
        self,
        options: Annotated[dict[str, Any], Lua("HttpOptions", "url, and optionally method, headers, body, timeout_s")],
        handler: Annotated[Callable[..., Any], Lua("fun(response: HttpResponse?, problem: string?)")],
    ) -> bool:
        """Asks one of the hosts that config.toml names (http_hosts) over HTTP; the handler gets the answer later.

        Only public addresses, no redirects, no cookies, at most 64 KiB of answer and 30 seconds; a few at one time, and
        `plugins.limits.http_per_minute`.  A status of any kind is an answer; without one the handler gets nil and why.
        """
        if self._http is None:
            raise PluginRefused("this server makes no HTTP requests")
        asked = self._http.ask(options)

        def done(answer: dict[str, Any] | None, problem: str | None) -> None:
            if not self._ended and self._paused is None:
                self.run_quietly(handler, answer, problem)

        asked.addCallbacks(
            lambda answer: done(answer, None), lambda failure: done(None, str(failure.value)[:300] or "it failed")
        )
        asked.addErrback(lambda failure: log.failure("{name}: http_request", name=self.name, failure=failure))
        return True


def refusal(error: NumericError) -> str:
    """A numeric as the reason that Lua gets."""
    return " ".join([*error.params, error.text])


def _list_mode(mode: str | None) -> str:
    if mode not in (None, "b", "e", "I"):
        raise PluginError('the list must be "b", "e" or "I"')
    return mode or "b"


def _option(options: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    value = options.get(name, default)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise PluginError(f"register_command: the option {name} must be a {kind.__name__}")
    return value


def _one_line(text: str) -> str:
    return one_line(" ".join(text.split()), 300) or "No help."


def _as_refusal(failure: Failure) -> Failure:
    """What the bus refuses is a refusal for the plugin, too."""
    error = failure.value
    if isinstance(error, NumericError):
        raise PluginRefused(refusal(error))
    if isinstance(error, StandardReply):
        raise PluginRefused(error.text)
    if isinstance(error, StoreUnavailable):
        raise PluginRefused("the event log cannot be written now")
    if isinstance(error, EncodeError):
        raise PluginRefused(str(error))
    return failure


def _forget_refusal(failure: Failure) -> None:
    failure.trap(PluginRefused)
