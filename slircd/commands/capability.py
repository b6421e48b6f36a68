"""CAP: which extensions there are, with their limits, and who has asked for which (IRCv3 capability-negotiation).

What a capability's value says is read from the limit that enforces it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from slircd.commands import metadata, multiline
from slircd.commands.registration import Step, register_if_complete
from slircd.commands.registry import Context, Phase, command
from slircd.services.sasl import mechanisms
from slircd.wire.capabilities import CAP_NOTIFY, CAPABILITIES, METADATA, METADATA_3, names_of
from slircd.wire.line import Line
from slircd.wire.message import truncate_utf8, wrap
from slircd.wire.numerics import ERR_INVALIDCAPCMD, NumericError

if TYPE_CHECKING:
    from slircd.config.sections import Sts
    from slircd.network.server import IRCServer
    from slircd.network.session import Session

STS: Final = "sts"
"""A capability that nobody can ask for: its value is all there is to it."""

ROOM: Final = 400
"""Bytes of names in one line; leaves room for the server's name and the nick."""

MAX_REFUSED: Final = 100
"""Bytes of a refused request that are repeated to the client."""


OF_HISTORY: Final = frozenset(
    {"draft/chathistory", "draft/event-playback", "draft/message-redaction", "znc.in/playback"}
)
"""What makes sense only where messages are kept."""


def offered(server: IRCServer, session: Session) -> dict[str, str | None]:
    """The capabilities that the client of `session` may see now, and their values."""
    config = server.config
    left_out = set() if config.relay.enabled else {"draft/relaymsg"}
    left_out |= set() if config.history.enabled else OF_HISTORY
    found = {name: value_of(server, session, name) for name in CAPABILITIES if name not in left_out}
    policy = sts_policy(config.sts, session)
    return {**found, STS: policy} if policy else found


def sts_policy(config: Sts, session: Session) -> str:
    """The STS policy for a client (IRCv3 sts): where to go, or on TLS how long to remember it; empty: none.

    It has no use but its value, so clients that know no values do not see it.  The port speaks IRC, so clients that
    came over WebSocket are not sent there.
    """
    if not config.enabled or not session.sees_values:
        return ""
    if not session.secure:
        return "" if session.is_websocket else f"port={config.port}"
    connection = session.tls_connection()
    name = connection.get_servername() if connection is not None else None
    host = (name or b"").decode("ascii", "replace").lower()
    if not host or (config.hosts and host not in [each.lower() for each in config.hosts]):
        return ""
    return f"duration={config.duration_s}" + (",preload" if config.preload else "")


def value_of(server: IRCServer, session: Session, name: str) -> str | None:
    """The value of a capability, or None."""
    if name == "sasl":
        return ",".join(mechanisms(server.accounts, session))
    if name == "draft/account-registration":
        config = server.config.accounts
        words = ["custom-account-name"]
        words += ["before-connect"] if config.before_connect else []
        words += ["email-required"] if config.require_email else []
        return ",".join(words)
    if name == "draft/multiline":
        return multiline.capability_value(server.config.limits)
    if name in ("draft/metadata-2", "draft/metadata-3"):
        return metadata.capability_value(server.config.limits)
    if name == "draft/relaymsg":
        return server.config.relay.separator
    return None


def _words(capabilities: dict[str, str | None]) -> list[str]:
    """Capabilities as CAP LS 302 shows them."""
    return [name if value is None else f"{name}={value}" for name, value in capabilities.items()]


@command("CAP", params=1, phase=Phase.ANY)
async def cap(ctx: Context, subcommand: str, argument: str = "") -> None:
    """CAP LS [302] | LIST | REQ :<capabilities> | END  (IRCv3 capability-negotiation)

    Says which extensions the server has, and asks for them.
    """
    verb = subcommand.upper()
    if verb == "LS":
        _ls(ctx, argument)
    elif verb == "LIST":
        _lines(ctx, "LIST", names_of(ctx.caps), several=True)
    elif verb == "REQ":
        _req(ctx, argument)
    elif verb == "END":
        if ctx.session.registration is not None:
            ctx.session.registration.take(Step.CAP_END)
            await register_if_complete(ctx)
    else:
        raise NumericError(ERR_INVALIDCAPCMD, subcommand)


def _ls(ctx: Context, version: str) -> None:
    session = ctx.session
    if session.registration is not None:
        session.registration.take(Step.CAP_BEGIN)
    modern = version.isascii() and version.isdigit() and int(version[:9]) >= 302
    if modern:
        session.caps |= CAP_NOTIFY
        session.sees_values = True
    known = offered(ctx.server, session)
    # Without a version the list is one line, so it has to fit: no drafts, whose limits are in values anyway.
    names = _words(known) if modern else [name for name in known if not name.startswith("draft/")]
    _lines(ctx, "LS", names, several=modern)


def _lines(ctx: Context, verb: str, names: list[str], *, several: bool) -> None:
    head = f"CAP {ctx.nick} {verb}"
    lines = list(wrap(names, ROOM)) if several else [" ".join(names)]
    for more in lines[:-1]:
        ctx.from_server(f"{head} * :{more}")
    ctx.from_server(f"{head} :{lines[-1] if lines else ''}")


def _req(ctx: Context, argument: str) -> None:
    session = ctx.session
    if session.registration is not None:
        session.registration.take(Step.CAP_BEGIN)
    known = offered(ctx.server, session)
    caps = session.caps
    for word in argument.split():
        name = word.removeprefix("-")
        bit = CAPABILITIES.get(name, 0) if name in known else 0
        if not bit:
            ctx.from_server(f"CAP {ctx.nick} NAK :{truncate_utf8(argument, MAX_REFUSED)}")
            return
        caps = caps & ~bit if word.startswith("-") else caps | bit
    # The answer goes out with the tags of before: the client cannot know yet that it has what it asked for.  A list
    # that does not fit into one line is spread over several, and never cut in a name.
    lines = list(wrap(argument.split(), ROOM)) if len(argument) > ROOM else [argument]
    for line in lines:
        ctx.from_server(f"CAP {ctx.nick} ACK :{line}")
    session.caps = caps
    if not caps & (METADATA | METADATA_3):
        session.followed.clear()


Kind = tuple[bool, bool, bytes | None]


def _kind_of(session: Session) -> Kind:
    """All that decides which capabilities a client is offered: is it protected, does it know values, by which name."""
    connection = session.tls_connection()
    return session.secure, session.sees_values, None if connection is None else connection.get_servername()


def offers(server: IRCServer) -> dict[Kind, tuple[Session, dict[str, str | None]]]:
    """What each kind of client is offered now, with one client of that kind."""
    examples = {_kind_of(session): session for session in server.sessions}
    return {kind: (session, offered(server, session)) for kind, session in examples.items()}


def announce_changes(server: IRCServer, before: dict[Kind, tuple[Session, dict[str, str | None]]]) -> None:
    """Tell clients which capabilities have come, gone, or have other values (IRCv3 cap-notify).

    `before` is what each kind of client was offered.
    """
    changes: dict[Kind, tuple[list[str], dict[str, str | None]]] = {}
    for kind, (session, old) in before.items():
        new = offered(server, session)
        if STS in old and STS not in new:
            # It cannot be taken back but by a policy that has ended.
            new[STS] = "duration=0"
        gone = [name for name in old if name not in new]
        come = {name: value for name, value in new.items() if name not in old or old[name] != value}
        if gone or come:
            changes[kind] = gone, come
    if not changes:
        return
    told: dict[Session, tuple[list[str], dict[str, str | None]]] = {}
    for session in server.sessions:
        change = changes.get(_kind_of(session))
        if change is not None and session.caps & CAP_NOTIFY and not session.is_closed:
            told[session] = change
            for name in change[0]:
                session.caps &= ~CAPABILITIES[name]

    def tell(session: Session) -> None:
        gone, come = told[session]
        head = f":{server.server_name} CAP {session.display_nick}"
        for text in wrap(gone, ROOM):
            session.send(Line(f"{head} DEL :{text}"))
        for text in wrap(_words(come) if session.sees_values else come, ROOM):
            session.send(Line(f"{head} NEW :{text}"))

    server.teller.tell(list(told), tell)
