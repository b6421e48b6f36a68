"""What NickServ and ChanServ have in common: a table of commands, and how a line becomes a call.

A service is a user in the state (node `services`), so that WHOIS, masks and channels know it; what is said to it comes
here, through PRIVMSG or a command of its own, and is never logged, echoed or passed on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from slircd.events.types import UserConnect
from slircd.rules.account import AccountError
from slircd.state.model import SERVICES
from slircd.wire.line import Line
from slircd.wire.numerics import NumericError, StandardReply

if TYPE_CHECKING:
    from slircd.commands.registry import Context
    from slircd.state.model import Account

Handler = Callable[..., Coroutine[Any, Any, None]]
H = TypeVar("H", bound=Handler)


class ServiceCommand(NamedTuple):
    """One row of a service's table."""

    name: str
    handler: Handler
    min_params: int
    max_params: int | None
    needs_account: bool
    help: str


class Refused(Exception):
    """A service does not do what it was asked; the text is its answer."""


class ServiceContext:
    """One request to a service."""

    def __init__(self, service: Service, ctx: Context) -> None:
        self.service = service
        self.ctx = ctx
        self.server = ctx.server
        self.state = ctx.server.state

    @property
    def account(self) -> Account:
        """The account of who asks; Refused without one."""
        account = self.state.account_of(self.ctx.user)
        if account is None:
            raise Refused("You are not logged in: /msg NickServ IDENTIFY <password>")
        return account

    def reply(self, text: str) -> None:
        """Answer with a NOTICE from the service."""
        service = self.service
        for line in text.splitlines() or [""]:
            body = f":{service.nick}!{service.nick}@{SERVICES} NOTICE {self.ctx.nick} :{line}"
            self.ctx.send(Line(body, timestamp=self.server.timestamp()))

    async def emit(self, events: Any) -> None:
        """Give a decision to the bus, with the client's command as its origin."""
        await self.server.bus.emit(events, self.ctx)


class Service:
    """A service: its nick, its table, and its door."""

    def __init__(self, nick: str, uid: str, about: str) -> None:
        self.nick: Final = nick
        self.uid: Final = uid
        self.about = about
        self.commands: dict[str, ServiceCommand] = {}

    def command(self, name: str, *aliases: str, params: int = 0, account: bool = False) -> Callable[[H], H]:
        """Register the decorated handler `(ctx, *parameters)`; its docstring is the text of HELP.

        `params` is the least number of parameters; the last one of the signature takes the rest of the line.
        """

        def register(handler: H) -> H:
            kinds = [parameter.kind for parameter in list(inspect.signature(handler).parameters.values())[1:]]
            unlimited = inspect.Parameter.VAR_POSITIONAL in kinds
            for each in (name, *aliases):
                self.commands[each] = ServiceCommand(
                    name, handler, params, None if unlimited else len(kinds), account, inspect.getdoc(handler) or ""
                )
            return handler

        return register

    def connect_event(self) -> UserConnect:
        """The service comes into being."""
        return UserConnect(
            actor_uid=self.uid,
            target=self.uid,
            nick=self.nick,
            username=self.nick,
            host=SERVICES,
            real_host=SERVICES,
            ip="",
            realname=self.about,
            modes="i",
            node=SERVICES,
            number=0,
            secure=False,
            certfp=None,
        )

    async def handle(self, ctx: Context, text: str) -> None:
        """Run what was said to the service."""
        request = ServiceContext(self, ctx)
        if text.startswith("\x01"):
            return
        words = text.split()
        name = words[0].upper() if words else "HELP"
        entry = self.commands.get(name)
        try:
            if name == "HELP":
                self._help(request, words[1:])
            elif entry is None:
                raise Refused(f"{name} is no command of {self.nick}: /msg {self.nick} HELP lists them")
            else:
                params = _split(text, entry.max_params)
                if len(params) < entry.min_params:
                    raise Refused(f"Too few parameters.  {entry.help.splitlines()[0]}")
                if entry.needs_account:
                    _ = request.account
                await entry.handler(request, *params)
        except Refused as refused:
            request.reply(str(refused))
        except AccountError as error:
            request.reply(error.text)
        except NumericError as error:
            request.reply(" ".join([*error.params, error.text]))
        except StandardReply as error:
            request.reply(error.text)

    def _help(self, request: ServiceContext, words: list[str]) -> None:
        entry = self.commands.get(words[0].upper()) if words else None
        if entry is not None:
            request.reply(entry.help)
            return
        if words:
            raise Refused(f"{words[0]} is no command of {self.nick}")
        request.reply(self.about)
        for name, each in self.commands.items():
            if name == each.name:
                request.reply(f"  {name:12} {each.help.splitlines()[-1]}")
        request.reply(f"/msg {self.nick} HELP <command> tells more.")


def _split(text: str, most: int | None) -> list[str]:
    """The words behind the command; the last one that fits takes the rest of the line."""
    rest = text.split(maxsplit=1)[1:]
    if not rest or most == 0:
        return []
    if most is None:
        return rest[0].split()
    return rest[0].split(maxsplit=most - 1) if most > 1 else [rest[0].strip()]
