"""Network bans: whom a line hits, who may set it how wide, and the events that set and remove it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from typing import Final, NamedTuple

from slircd.events import types as ev
from slircd.rules.lookup import actor_of
from slircd.rules.user import disconnect_event
from slircd.state.model import ServerState, User
from slircd.wire.masks import canonical_mask, matches_glob, matches_mask, network_of
from slircd.wire.numerics import StandardReply

MAX_MASK: Final = 200
MAX_SECONDS: Final = 10 * 365 * 86_400
NARROW: Final = 4
"""Characters of a host, or of a real name, that must be given for a line that needs no FORCE."""

_DURATION: Final = re.compile(r"(?:[0-9]{1,9}[smhdw])+|0", re.ASCII)
_PART: Final = re.compile(r"([0-9]{1,9})([smhdw])", re.ASCII)
_UNIT: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class LineKind(NamedTuple):
    """One sort of line: the classes of its events, and what its mask is."""

    add: type[ev.LineAdd]
    remove: type[ev.LineRemove]
    form: str
    """userhost, address or realname."""
    disconnects: bool


KINDS: Final[dict[str, LineKind]] = {
    "kline": LineKind(ev.KLine, ev.UnKLine, "userhost", True),
    "gline": LineKind(ev.GLine, ev.UnGLine, "userhost", True),
    "dline": LineKind(ev.DLine, ev.UnDLine, "address", True),
    "zline": LineKind(ev.ZLine, ev.UnZLine, "address", True),
    "rline": LineKind(ev.RLine, ev.UnRLine, "realname", True),
    "shun": LineKind(ev.Shun, ev.UnShun, "userhost", False),
}
"""Every sort of line by its name."""


def parse_duration(text: str) -> int | None:
    """Seconds of `1d12h`; 0 for a line without end; None if it is no duration."""
    if _DURATION.fullmatch(text) is None:
        return None
    return min(sum(int(number) * _UNIT[unit] for number, unit in _PART.findall(text)), MAX_SECONDS)


def _refuse(mask: str, text: str) -> StandardReply:
    return StandardReply("FAIL", "INVALID_MASK", mask, text=text)


def line_mask(kind: str, text: str) -> str:
    """The mask of a line in its one form.  Raises StandardReply for what is none."""
    form = KINDS[kind].form
    if len(text.encode()) > MAX_MASK or any(ord(character) < 32 for character in text):
        raise _refuse("*", f"A mask has at most {MAX_MASK} bytes")
    if form == "address":
        try:
            return str(ip_network(text, strict=False))
        except ValueError:
            raise _refuse(text, "An address or network such as 192.0.2.0/24 or 2001:db8::/32") from None
    if form == "realname":
        return text
    if "!" in text or not any(sign in text for sign in "@.:/*"):
        raise _refuse(text, "A mask user@host, without a nick; the host may be a network such as 192.0.2.0/24")
    return canonical_mask(text).removeprefix("*!")


def hits(state: ServerState, kind: str, mask: str, user: User) -> bool:
    """Whether a line hits a user."""
    form = KINDS[kind].form
    if form == "address":
        return bool(user.ip) and matches_mask(f"*!*@{mask}", user.nick, user.username, (), user.ip, state.fold)
    if form == "realname":
        return matches_glob(state.fold(mask), state.fold(user.realname))
    hosts = (user.real_host, user.ip, user.host)
    return matches_mask(f"*!{mask}", user.nick, user.username, hosts, user.ip, state.fold)


def is_wide(kind: str, mask: str) -> bool:
    """Whether a line could hit most of the world, so that it takes a word more to set it."""
    form = KINDS[kind].form
    host = mask if form == "realname" else mask.partition("@")[2] if form == "userhost" else mask
    network = network_of(host)
    if network is not None:
        return network.prefixlen < (16 if network.version == 4 else 32)
    user = mask.partition("@")[0] if form == "userhost" else ""
    narrow_user = len(re.sub(r"[*?~]", "", user)) >= NARROW
    return len(re.sub(r"[*?.:\s]", "", host)) < NARROW and not narrow_user


class NewLine(NamedTuple):
    """A line that an operator asks for."""

    kind: str
    mask: str
    reason: str
    private_reason: str
    expires: str | None


AT_ONCE: Final = 3
"""Users who are disconnected with the line that hits them; the others follow, because each may be seen by thousands."""


def decide_line(
    state: ServerState, actor: str, line: NewLine, hit: Sequence[User], *, force: bool
) -> Iterator[ev.Event]:
    """A line is set, and the first of those whom it hits are disconnected with it; `hit` is who they all are.

    Raises StandardReply where it is wide, would hit everybody, or the operator, unless `force`; or is there already.
    """
    oper = actor_of(state, actor)
    kind = KINDS[line.kind]
    if state.fold(line.mask) in state.bans.get(line.kind, {}):
        raise StandardReply("FAIL", "ALREADY_SET", line.mask, text="There is such a line already")
    if not force:
        if any(user.uid == actor for user in hit):
            raise _refuse(line.mask, "That would hit you; add FORCE if you mean it")
        if is_wide(line.kind, line.mask) or (len(hit) > 2 and len(hit) >= _others(state, actor)):
            raise _refuse(line.mask, f"That is very wide and hits {len(hit)} users now; add FORCE if you mean it")
    yield kind.add(
        actor_uid=actor,
        target=state.fold(line.mask),
        nick=oper.nick,
        mask=line.mask,
        reason=line.reason,
        private_reason=line.private_reason,
        set_by=oper.source,
        expires=line.expires,
    )
    if kind.disconnects:
        for user in [user for user in hit if not user.is_oper][:AT_ONCE]:
            yield disconnect_event(user, actor, f"Banned: {line.reason}")


def _others(state: ServerState, actor: str) -> int:
    """How many users there are beside services and the actor."""
    return sum(not user.is_service and user.uid != actor for user in state.users.values())


def decide_unline(state: ServerState, actor: str, kind: str, text: str) -> Iterator[ev.Event]:
    """A line is removed."""
    mask = line_mask(kind, text)
    ban = state.bans.get(kind, {}).get(state.fold(mask))
    if ban is None:
        raise StandardReply("FAIL", "NO_SUCH_LINE", mask, text="There is no such line")
    yield KINDS[kind].remove(actor_uid=actor, target=state.fold(mask), nick=actor_of(state, actor).nick, mask=ban.mask)


def line_expiry(state: ServerState, kind: str, mask: str) -> ev.LineRemove:
    """The server removes a line whose time has come."""
    return KINDS[kind].remove(actor_uid=ev.SERVER, target=state.fold(mask), nick="", mask=mask)


# --- filters ------------------------------------------------------------------------------------------------------

ACTIONS: Final = ("block", "warn", "kill")


def decide_filter(state: ServerState, actor: str, pattern: str, action: str, reason: str) -> Iterator[ev.Event]:
    """A spam filter is set; that its pattern is one, the caller has checked."""
    if pattern in state.filters:
        raise StandardReply("FAIL", "ALREADY_SET", "*", text="There is such a filter already")
    oper = actor_of(state, actor)
    yield ev.FilterAdd(
        actor_uid=actor,
        target="filter",
        nick=oper.nick,
        pattern=pattern,
        action=action,
        reason=reason,
        set_by=oper.source,
    )


def decide_unfilter(state: ServerState, actor: str, pattern: str) -> Iterator[ev.Event]:
    """A spam filter is removed."""
    yield ev.FilterRemove(actor_uid=actor, target="filter", nick=actor_of(state, actor).nick, pattern=pattern)
