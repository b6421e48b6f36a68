"""Who may write to whom in spite of user modes R and g (ACCEPT).

Facts of this run, never state: like SILENCE they decide only about messages, which change no state, and an event for
each person that somebody writes to would tell the log who talks to whom.  They are the user's, so all its clients share
them, and they name users, not nicks: who takes over a nick takes over no trust.
"""

from __future__ import annotations

from typing import Final

PACE_S: Final = 60.0
"""Seconds from one word to a user that somebody who is not accepted writes to it, to the next."""


class AcceptLists:
    """The lists of all users, by UID.  What is on one is there by ACCEPT, or because its owner wrote first."""

    def __init__(self) -> None:
        self._lists: dict[str, dict[str, bool]] = {}
        """Owner to those who are accepted, and whether only because the owner wrote to them."""
        self._owners: dict[str, set[str]] = {}
        """The other side: whom each is accepted by."""
        self._told_s: dict[str, float] = {}

    def allows(self, owner: str, uid: str) -> bool:
        """Whether `owner` has accepted `uid`."""
        return uid in self._lists.get(owner, ())

    def accepted_by(self, owner: str) -> list[str]:
        """The UIDs on a list, in order of coming on it."""
        return list(self._lists.get(owner, ()))

    def was_asked_for(self, owner: str, uid: str) -> bool:
        """Whether `uid` is on the list by ACCEPT."""
        return self._lists.get(owner, {}).get(uid) is False

    def add(self, owner: str, uid: str, limit: int, *, wrote: bool = False) -> bool:
        """Put `uid` on the list of `owner`, because of ACCEPT or because `owner` wrote to it; whether there is room.

        On a full list those give way to whom the owner only wrote, the oldest first.
        """
        accepted = self._lists.setdefault(owner, {})
        if uid in accepted:
            accepted[uid] = accepted[uid] and wrote
            return True
        if len(accepted) >= limit:
            oldest = next((each for each, only_wrote in accepted.items() if only_wrote), None)
            if oldest is None:
                return False
            self.remove(owner, oldest)
            accepted = self._lists.setdefault(owner, {})
        accepted[uid] = wrote
        self._owners.setdefault(uid, set()).add(owner)
        return True

    def remove(self, owner: str, uid: str) -> bool:
        """Take `uid` off the list of `owner`; whether it was on it."""
        accepted = self._lists.get(owner, {})
        if uid not in accepted:
            return False
        del accepted[uid]
        if not accepted:
            del self._lists[owner]
        owners = self._owners[uid]
        owners.discard(owner)
        if not owners:
            del self._owners[uid]
        return True

    def forget(self, uid: str) -> None:
        """The user is gone: its list, and it from the lists of others."""
        for other in self.accepted_by(uid):
            self.remove(uid, other)
        for owner in list(self._owners.get(uid, ())):
            self.remove(owner, uid)
        self._told_s.pop(uid, None)

    def may_tell(self, owner: str, now_s: float) -> bool:
        """Whether `owner` may be told now that somebody writes in vain; counts as told."""
        if now_s - self._told_s.get(owner, -PACE_S) < PACE_S:
            return False
        self._told_s[owner] = now_s
        return True
