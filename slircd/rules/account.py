"""What may happen to accounts: register, verify, log in and out, group nicks, settings, certificates, drop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from slircd.events import types as ev
from slircd.state.model import Account, ServerState, User

SETTINGS: Final[dict[str, str]] = {
    "enforce": "others who take a nick of the account get another one after a while (on, off)",
    "hidemail": "the e-mail address shows to nobody but its owner (on, off)",
    "private": "INFO tells others only that the account exists (on, off)",
    "nohistory": "direct messages from and to you are never kept (on, off)",
    "neverop": "ChanServ gives nothing on joining (on, off)",
}
"""Settings of an account that are on or off."""


class AccountError(Exception):
    """A request about accounts cannot be met; `code` is a standard reply's, the text says why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def check_new_account(state: ServerState, name: str, uid: str | None) -> None:
    """Raise AccountError unless `uid` (None: nobody yet) may register the name: nobody else has it, or is using it."""
    if state.owner_of_nick(name) is not None:
        raise AccountError("ACCOUNT_EXISTS", "This name is registered already")
    holder = state.user_by_nick(name)
    if holder is not None and holder.uid != uid:
        raise AccountError("ACCOUNT_EXISTS", "Somebody else is using this nick")


def decide_register(state: ServerState, user: User | None, name: str, *, verified: bool) -> Iterator[ev.Event]:
    """An account is made, by a user or by a client that is not one yet."""
    check_new_account(state, name, None if user is None else user.uid)
    actor = None if user is None else user.uid
    yield ev.NickRegister(
        actor_uid=actor,
        target=state.fold(name),
        nick=name if user is None else user.nick,
        account=name,
        verified=verified,
    )


def decide_saregister(state: ServerState, user: User, name: str) -> Iterator[ev.Event]:
    """An operator makes an account for somebody else, who may be using the name as nick already; it needs no proof."""
    holder = state.user_by_nick(name)
    check_new_account(state, name, None if holder is None or holder.is_service else holder.uid)
    yield ev.NickRegister(actor_uid=user.uid, target=state.fold(name), nick=user.nick, account=name, verified=True)


def login_events(state: ServerState, uid: str, nick: str, name: str, method: str) -> Iterator[ev.Event]:
    """Somebody proved to own the account `name`, and is logged in."""
    yield ev.NickIdentify(actor_uid=uid, target=state.fold(name), nick=nick, account=name, method=method)
    yield ev.UserAccount(actor_uid=uid, target=uid, nick=nick, account=name)


def decide_logout(state: ServerState, uid: str) -> Iterator[ev.Event]:
    """A user is logged in no longer; nothing if it was not."""
    user = state.users[uid]
    if user.account is not None:
        yield ev.UserAccount(actor_uid=uid, target=uid, nick=user.nick, account="")


def decide_verify(account: Account, actor: str | None, nick: str) -> Iterator[ev.Event]:
    """The e-mail address of an account was proved."""
    if not account.verified:
        yield ev.NickVerify(actor_uid=actor, target=account.key, nick=nick)


def decide_group(state: ServerState, user: User, account: Account, max_nicks: int) -> Iterator[ev.Event]:
    """The nick that a user has now is added to its account."""
    owner = state.owner_of_nick(user.nick)
    if owner is account:
        raise AccountError("ALREADY_GROUPED", f"{user.nick} belongs to your account already")
    if owner is not None:
        raise AccountError("NICK_REGISTERED", f"{user.nick} belongs to somebody else")
    if len(account.nicks) >= max_nicks:
        raise AccountError("TOO_MANY_NICKS", f"An account has at most {max_nicks} nicks")
    yield ev.NickGroup(actor_uid=user.uid, target=account.key, nick=user.nick, grouped=user.nick)


def decide_ungroup(state: ServerState, user: User, account: Account, nick: str) -> Iterator[ev.Event]:
    """A nick is taken off an account; not the one that is its name."""
    key = state.fold(nick)
    if key not in account.nicks:
        raise AccountError("NOT_GROUPED", f"{nick} does not belong to your account")
    if key == account.key:
        raise AccountError("IS_ACCOUNT_NAME", f"{nick} is the name of the account; DROP removes the account")
    yield ev.NickUngroup(actor_uid=user.uid, target=account.key, nick=user.nick, grouped=account.nicks[key])


def decide_drop(user: User, account: Account) -> Iterator[ev.Event]:
    """An account is removed."""
    yield ev.NickDrop(actor_uid=user.uid, target=account.key, nick=user.nick, account=account.name)


def decide_account_set(user: User | None, account: Account, setting: str, value: str) -> Iterator[ev.Event]:
    """A setting of an account is changed; that a secret one was, too."""
    if setting in SETTINGS:
        value = "on" if value.lower() in ("on", "yes", "true") else ""
        if account.settings.get(setting, "") == value:
            return
    elif account.settings.get(setting, "") == value and value:
        return
    actor, nick = (None, account.name) if user is None else (user.uid, user.nick)
    yield ev.NickSet(actor_uid=actor, target=account.key, nick=nick, setting=setting, value=value)


def decide_cert(
    state: ServerState, user: User, account: Account, fingerprint: str, *, added: bool, most: int
) -> Iterator[ev.Event]:
    """A certificate's fingerprint is added to an account, or taken off."""
    if added == (fingerprint in account.certfps):
        raise AccountError("CERT", "This fingerprint is on the list already" if added else "It is not on the list")
    if added and any(fingerprint in other.certfps for other in state.accounts.values()):
        raise AccountError("CERT", "This fingerprint belongs to another account")
    if added and len(account.certfps) >= most:
        raise AccountError("CERT", f"An account has at most {most} fingerprints")
    yield ev.NickCert(actor_uid=user.uid, target=account.key, nick=user.nick, fingerprint=fingerprint, added=added)
