"""Several clients of one user, and users who stay without any: who may attach, what follows when a client leaves.

What the network allows is a policy (`off`, `opt-in`, `opt-out`), what an account wants a setting (`on`, `off`, or
nothing said).  Whether a user stays is said in the state by an event, so that the log alone knows whom a restart ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from slircd.events import types as ev
from slircd.rules.modes import decide_user_modes
from slircd.rules.user import away_event, disconnect_event
from slircd.state.model import Account, ServerState, User
from slircd.wire.modes import Change
from slircd.wire.numerics import ERR_NICKNAMEINUSE, NumericError

AUTOMATIC: Final = "*"
"""The away message of a client that says it of itself, not for its user (IRCv3 draft/pre-away)."""

NOT_CONNECTED: Final = "Not connected at the moment"
"""The away message of somebody who stays without a client."""


class Policy(Protocol):
    """What the network allows (config.sections.Bouncer): each is off, opt-in or opt-out."""

    @property
    def multiclient(self) -> str:
        """Whether several clients may be one user."""

    @property
    def always_on(self) -> str:
        """Whether users may stay without a client."""


CHOICES: Final[dict[str, str]] = {
    "multiclient": "other clients that log in to your account and ask for your nick are you, too",
    "always-on": "you stay, on your channels, when your last client is gone",
}
"""Settings of an account that are ON, OFF, or DEFAULT: what the network says."""


def allows(policy: str, account: Account, setting: str) -> bool:
    """Whether an account has what the network leaves to its choice."""
    chosen = account.settings.get(setting, "")
    return policy != "off" and chosen != "off" and (policy == "opt-out" or chosen == "on")


def shared_user(state: ServerState, policy: Policy, account: Account, nick: str, node: str) -> User | None:
    """The user of the account whom another client of it, which asks for `nick`, becomes; None for a user of its own.

    It is the one with that nick, if the account's clients share a user; or the one who stays, whatever its nick.
    """
    users = [user for user in state.users_of_account(account.key) if user.node == node]
    wanted = state.fold(nick)
    shares = allows(policy.multiclient, account, "multiclient")
    for user in users:
        if user.always_on and (shares or not user.clients):
            return user
    return next((user for user in users if shares and state.fold(user.nick) == wanted), None)


def may_wait_for(state: ServerState, policy: Policy, nick: str) -> bool:
    """Whether somebody who asks for a nick in use may still turn out to be a client of its user."""
    holder = state.user_by_nick(nick)
    account = None if holder is None else state.account_of(holder)
    if holder is None or account is None:
        return False
    return holder.always_on or allows(policy.multiclient, account, "multiclient")


class NewClient(NamedTuple):
    """What a client that attaches brings."""

    real_host: str
    ip: str
    secure: bool


def decide_attach(state: ServerState, uid: str, client: NewClient, *, most: int) -> Iterator[ev.Event]:
    """Another client of a user is there.

    One without TLS is refused, as if the nick were somebody else's, where the user is on a channel for TLS only; and
    so is one that would make more than `most`.
    """
    user = state.users[uid]
    if user.clients >= most:
        raise NumericError(ERR_NICKNAMEINUSE, user.nick, text=f"You have {most} clients already")
    if not client.secure and any("z" in channel.flags for channel in state.channels_of(uid)):
        raise NumericError(ERR_NICKNAMEINUSE, user.nick, text="You are on a channel that needs TLS (+z), use it")
    yield ev.UserAttach(
        actor_uid=uid, target=uid, nick=user.nick, real_host=client.real_host, ip=client.ip, secure=client.secure
    )


def decide_leave(
    state: ServerState, uid: str, reason: str, *, others: int, ends_oper: bool = False
) -> Iterator[ev.Event]:
    """A client of a user is gone; `others` says how many more there are here.

    The user ends with its last one, unless it stays; nothing if it was gone already.  `ends_oper` says that it was the
    only one of them that had passed OPER: the others own the account, and that makes nobody an IRC operator.
    """
    user = state.users.get(uid)
    if user is None:
        return
    if others or user.always_on:
        yield ev.UserDetach(actor_uid=uid, target=uid, nick=user.nick, reason=reason)
        if ends_oper:
            yield from decide_user_modes(state, uid, [Change("-", "o")], lambda user: user.host)
    else:
        yield disconnect_event(user, uid, reason)


def decide_arriving_always_on(
    state: ServerState, uid: str, nick: str, account: Account, policy: Policy
) -> Iterator[ev.Event]:
    """A user who arrives logged in stays, if its account and the network want that."""
    others = state.users_of_account(account.key)
    if allows(policy.always_on, account, "always-on") and not any(other.always_on for other in others):
        yield ev.UserAlwaysOn(actor_uid=uid, target=uid, nick=nick, on=True)


def decide_persistence(state: ServerState, user: User, policy: Policy) -> Iterator[ev.Event]:
    """A user stays without clients from now on, or does not, as its account and the network want.

    Of several users of one account one stays.
    """
    account = state.account_of(user)
    wanted = account is not None and allows(policy.always_on, account, "always-on")
    if wanted and account is not None:
        wanted = not any(other.always_on for other in state.users_of_account(account.key) if other is not user)
    if wanted != user.always_on:
        yield ev.UserAlwaysOn(actor_uid=user.uid, target=user.uid, nick=user.nick, on=wanted)


def common_away(messages: Sequence[str | None], own: str | None, *, auto: bool) -> str:
    """What the clients of a user say together, in the order in which they said it: away with a message, or back ("").

    Somebody is away when all its clients are.  A client that is away of itself counts only where there are no others.
    `own` is what holds now; with `auto` somebody without a client is away.
    """
    if not messages:
        return own or (NOT_CONNECTED if auto else "")
    said = [message for message in messages if message != AUTOMATIC]
    if not said:
        return AUTOMATIC
    return "" if None in said else said[-1] or ""


def decide_common_away(state: ServerState, uid: str, message: str) -> Iterator[ev.Event]:
    """What a user's clients say together has changed; nothing if it has not."""
    user = state.users.get(uid)
    if user is not None and message != (user.away or ""):
        yield away_event(uid, user.nick, message)


def decide_end(user: User, reason: str) -> Iterator[ev.Event]:
    """Somebody who stayed without a client ends."""
    yield disconnect_event(user, ev.SERVER, reason)
