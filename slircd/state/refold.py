"""Whether another case mapping fits a state: its keys are folded names, and stay what they are."""

from __future__ import annotations

from collections.abc import Iterator

from slircd.state.model import ServerState
from slircd.wire.casemap import CaseMap


class CasemappingChange(Exception):
    """Names of the log would have other keys under the case mapping that is configured; the text says which."""


def check_casemapping(state: ServerState, casemap: CaseMap) -> None:
    """Raise CasemappingChange if a name of `state` would have another key under `casemap`."""
    if casemap.name == state.casemap.name:
        return
    changed = sorted({name for name in _names(state) if casemap.fold(name) != state.casemap.fold(name)})
    if changed:
        shown = ", ".join(changed[:5]) + (" …" if len(changed) > 5 else "")
        raise CasemappingChange(
            f"the log goes by server.casemapping {state.casemap.name}, under {casemap.name} {len(changed)} names would"
            f" be others: {shown}"
        )


def _names(state: ServerState) -> Iterator[str]:
    """Every name and mask that is a key, as people write it."""
    yield from (user.nick for user in state.users.values())
    for channel in state.channels.values():
        yield channel.name
        for entries in channel.lists.values():
            yield from (entry.mask for entry in entries.values())
        if channel.registration is not None:
            yield from (access.entry for access in channel.registration.access.values())
    for account in state.accounts.values():
        yield account.name
        yield from account.nicks.values()
    for bans in state.bans.values():
        yield from (ban.mask for ban in bans.values())
