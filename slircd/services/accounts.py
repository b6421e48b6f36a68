"""Accounts: who may use them, and what proves it.

What an account is stands in the state, and changes by events.  What proves to own it (hashes, verifiers, an e-mail
address, codes) stands in a table of its own, written in the transaction of its event, kept here in memory, and never
shown.  Passwords are hashed in threads.  After each wait everything is decided anew.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64decode, b64encode
from functools import cache
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import txaio
from precis_i18n import get_profile
from scramp import ScramException, ScramMechanism
from twisted.internet.defer import ensureDeferred

from slircd.events.row import Credential
from slircd.rules.account import (
    AccountError,
    check_new_account,
    decide_account_set,
    decide_drop,
    decide_register,
    decide_saregister,
    decide_verify,
    login_events,
)
from slircd.rules.bouncer import decide_persistence
from slircd.security.guessing import Guessing
from slircd.security.passwords import hash_now, verify_now
from slircd.services.codes import new_code, try_code
from slircd.services.mailer import Mailer, MailError
from slircd.wire.names import valid_nick
from slircd.wire.numerics import RPL_LOGGEDIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from slircd.commands.registry import Context
    from slircd.config.sections import Accounts as AccountsSection
    from slircd.events.types import Event
    from slircd.network.server import IRCServer
    from slircd.network.session import Session
    from slircd.state.model import Account, User

txaio.use_twisted()
log = txaio.make_logger()

PASSWORD: Final = "argon2"  # noqa: S105  # a kind of credential
SCRAM: Final = "scram-sha-256"
EMAIL: Final = "email"
VERIFY: Final = "verify-code"
RESET: Final = "reset-code"
NEW_EMAIL: Final = "email-code"

MAX_PASSWORD: Final = 1000
"""Bytes of a password."""

ROUNDS: Final = {"default": 15_000, "minimum": 4096}
"""Iterations of SCRAM's PBKDF2, by passwords.cost."""

_EMAIL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", re.ASCII)


class ScramVerifier(NamedTuple):
    """What a server keeps for SCRAM (RFC 5802): it proves nothing to others and cannot be used to log in."""

    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int


class Login(NamedTuple):
    """A client that is no user yet has proved to own an account: when its password was the `version`th of its name."""

    key: str
    method: str
    version: int


@cache
def _nobodys_hash(cost: str) -> str:
    """What the password of an account that is not there is compared with: so that it takes as long."""
    return hash_now("", cost)


def _guesses(config: AccountsSection) -> dict[str, int]:
    return {
        "per_address": config.failures_per_address,
        "per_account": config.failures_per_account,
        "window_s": config.failure_window_s,
    }


def _registrations(config: AccountsSection) -> dict[str, int]:
    most = config.registrations_per_address
    return {"per_address": most, "per_account": most, "window_s": config.registration_window_s}


class Accounts:
    """The door to accounts, for NickServ, REGISTER and SASL alike."""

    def __init__(
        self, server: IRCServer, config: AccountsSection, run: Callable[[Callable[[], Any]], Deferred[Any]]
    ) -> None:
        """`run` calls a function in a thread of a bounded pool; `mailer` is given later, where mail can be sent."""
        self.server = server
        self.mailer: Mailer | None = None
        self._run = run
        self._credentials: dict[tuple[str, str], str] = {}
        self._versions: dict[str, int] = {}
        self.guessing = Guessing(server.reactor, **_guesses(config))
        self.registrations = Guessing(server.reactor, **_registrations(config))
        self._salts = token_bytes(32)

    def configure(self, config: AccountsSection) -> None:
        """Use other limits from now on; what was counted stays."""
        self.guessing.configure(**_guesses(config))
        self.registrations.configure(**_registrations(config))

    def forget(self, key: str) -> None:
        """Nothing proves to own this account any more."""
        self._credentials = {known: value for known, value in self._credentials.items() if known[0] != key}
        self._versions[key] = self.version(key) + 1

    def version(self, key: str) -> int:
        """Another number than before when who proved to own the account of this name has proved nothing any more.

        That is so with a new password, and when the account is dropped; the name may be somebody else's by then.
        """
        return self._versions.get(key, 0)

    def pending(self, session: Session) -> Account | None:
        """The account that a client which is no user yet has proved to own, if that still holds."""
        login = session.pending_login
        if login is None or login.version != self.version(login.key):
            return None
        return self.server.state.accounts.get(login.key)

    def load(self, credentials: list[Credential]) -> None:
        """Take what the database has, at start."""
        self._credentials = {(account, kind): value for account, kind, value in credentials if value is not None}

    # --- secrets --------------------------------------------------------------------------------------------------

    async def _emit(self, events: Any, credentials: list[Credential], origin: object | None = None) -> None:
        await self.server.bus.emit(events, origin, credentials)
        for account, kind, value in credentials:
            if kind in ("", PASSWORD):
                self._versions[account] = self.version(account) + 1
            if not kind:
                self._credentials = {key: old for key, old in self._credentials.items() if key[0] != account}
            elif value is None:
                self._credentials.pop((account, kind), None)
            else:
                self._credentials[account, kind] = value

    async def _secrets_of(self, key: str, password: str) -> list[Credential]:
        cost = self.server.config.passwords.cost

        def make() -> tuple[str, str | None]:
            try:
                salt, stored, server, rounds = ScramMechanism("SCRAM-SHA-256").make_auth_info(
                    password, ROUNDS[cost], token_bytes(16)
                )
            except ScramException:
                # SCRAM goes by SASLprep, which knows no character that is newer than Unicode 3.2: PLAIN alone then.
                return hash_now(password, cost), None
            encoded = [b64encode(part).decode() for part in (salt, stored, server)]
            return hash_now(password, cost), msgspec.json.encode([*encoded, rounds]).decode()

        hashed, verifier = await self._run(make)
        return [Credential(key, PASSWORD, hashed), Credential(key, SCRAM, verifier)]

    async def _new_secrets_of(self, account: Account, password: str) -> list[Credential]:
        """The same for an account that must not have changed hands meanwhile.  Raises AccountError if it has."""
        version = self.version(account.key)
        credentials = await self._secrets_of(account.key, password)
        if version != self.version(account.key):
            raise AccountError("TEMPORARILY_UNAVAILABLE", "The account has changed meanwhile, try again")
        return credentials

    def scram_verifier(self, key: str) -> ScramVerifier:
        """The verifier of an account; for one that is not there a made-up one, so that nobody can tell."""
        stored = self._credentials.get((key, SCRAM))
        if stored is None:
            fake = hmac.digest(self._salts, key.encode(), "sha256")
            return ScramVerifier(fake[:16], token_bytes(32), token_bytes(32), ROUNDS[self.server.config.passwords.cost])
        salt, stored_key, server_key, rounds = msgspec.json.decode(stored)
        return ScramVerifier(b64decode(salt), b64decode(stored_key), b64decode(server_key), rounds)

    def email_of(self, account: Account) -> str:
        """The e-mail address of an account, for its owner's eyes; empty if there is none."""
        return self._credentials.get((account.key, EMAIL), "")

    def check_password(self, password: str) -> str:
        """The password as it is to be hashed.  Raises AccountError for one that is too short, too long, or none."""
        try:
            prepared = get_profile("OpaqueString").enforce(password)
        except UnicodeEncodeError:
            raise AccountError("INVALID_PASSWORD", "A password has no control characters and is not empty") from None
        least = self.server.config.accounts.password_length
        if len(prepared) < least or len(prepared.encode()) > MAX_PASSWORD:
            raise AccountError(
                "WEAK_PASSWORD", f"A password has at least {least} characters, at most {MAX_PASSWORD} bytes"
            )
        return str(prepared)

    def check_name(self, name: str) -> None:
        """Raise AccountError unless an account may have this name."""
        config = self.server.config
        precis = config.accounts.names == "precis" or self.server.state.casemap.is_precis
        if not valid_nick(name, config.limits.nicklen, precis=precis):
            raise AccountError("BAD_ACCOUNT_NAME", "An account's name is a nick")

    # --- registration ---------------------------------------------------------------------------------------------

    async def register(self, ctx: Context, name: str, email: str, password: str) -> Account:
        """Make an account for the client, and log it in, unless its address has to be proved first.

        Raises AccountError.
        """
        server, config = self.server, self.server.config.accounts
        if not config.registration:
            raise AccountError("ACCOUNT_REGISTRATION_DISABLED", "Registration is closed on this network")
        if self.guessing.refuses(ctx.session.address, ""):
            raise AccountError("TEMPORARILY_UNAVAILABLE", "Too many tries, come back later")
        limited = not server.throttle.is_exempt(ctx.session.address)
        if limited and self.registrations.refuses(ctx.session.address, ctx.session.address):
            raise AccountError("TEMPORARILY_UNAVAILABLE", "Too many accounts from your address, come back later")
        self.check_name(name)
        check_new_account(server.state, name, ctx.session.uid or None)
        if config.require_email or email:
            self.check_email(email)
        key = server.state.fold(name)
        credentials = await self._secrets_of(key, self.check_password(password))
        verified = not config.require_email
        if email:
            credentials.append(Credential(key, EMAIL, email))
        code = "" if verified else self._new_code(key, VERIFY, credentials)
        user = server.state.users.get(ctx.session.uid)
        if ctx.session.is_closed:
            raise AccountError("GONE", "The client has gone")
        if limited:
            self.registrations.failed(ctx.session.address, ctx.session.address)
        await self._emit(decide_register(server.state, user, name, verified=verified), credentials)
        account = server.state.accounts[key]
        if verified:
            await self.log_in(ctx, account, "registration")
        else:
            await self._mail_code(account, email, "Confirm your account", f"/msg NickServ VERIFY {name} {code}")
        return account

    async def register_for(self, ctx: Context, name: str, email: str, password: str) -> Account:
        """Make an account for somebody else, at the wish of an operator; also where registration is closed.

        Raises AccountError, and NumericError if the client is no operator any more when the password is hashed.
        """
        self.check_name(name)
        if email:
            self.check_email(email)
        key = self.server.state.fold(name)
        list(decide_saregister(self.server.state, ctx.user, name))
        credentials = await self._secrets_of(key, self.check_password(password))
        if email:
            credentials.append(Credential(key, EMAIL, email))
        if ctx.session.is_closed:
            raise AccountError("GONE", "The client has gone")
        ctx.require_privilege("saregister")
        await self._emit(decide_saregister(self.server.state, ctx.user, name), credentials, ctx)
        return self.server.state.accounts[key]

    @staticmethod
    def check_email(email: str) -> None:
        """Raise AccountError unless this looks like an address."""
        if len(email) > 254 or _EMAIL.fullmatch(email) is None:
            raise AccountError("INVALID_EMAIL", "This is no e-mail address")

    def _new_code(self, key: str, kind: str, credentials: list[Credential], value: str = "") -> str:
        """A code for the account `key`; what is to be kept of it is added to `credentials`."""
        hours = self.server.config.accounts.code_hours
        code, stored = new_code(self.server.epoch_s() + 3600 * hours, value)
        credentials.append(Credential(key, kind, stored))
        return code

    async def _mail_code(self, account: Account, email: str, subject: str, line: str) -> None:
        network = self.server.config.server.network
        text = (
            f"Somebody, most likely you, asked for this on the IRC network {network}, for the account {account.name}.\n\n"
            f"Type in your client:\n\n    {line}\n\nIf it was not you, do nothing.\n"
        )
        if self.mailer is None:
            raise AccountError("TEMPORARILY_UNAVAILABLE", "This network cannot send mail")
        try:
            await self.mailer.send(email, f"{network}: {subject}", text)
        except MailError as error:
            log.error("mail for account {account} was not sent: {reason}", account=account.name, reason=str(error))
            raise AccountError("TEMPORARILY_UNAVAILABLE", "The mail could not be sent, try again later") from None

    def _proved_by(self, key: str, kind: str, code: str) -> str | None:
        """What a code was made for; None if it is not the one."""
        stored = self._credentials.get((key, kind))
        if stored is None:
            return None
        # Tries count in memory: a restart gives five more, of a million million.
        tried = try_code(stored, code, self.server.epoch_s())
        self._credentials[key, kind] = tried.stored
        return tried.value if tried.right else None

    async def verify(self, ctx: Context, name: str, code: str) -> Account:
        """Prove the e-mail address of an account with the code that was mailed.

        A new account's client is logged in by that; another address than before is proved by a client that is.
        """
        state = self.server.state
        account, user = state.account_named(name), state.users.get(ctx.session.uid)
        if account is not None and account.verified and user is not None and state.account_of(user) is account:
            email = self._proved_by(account.key, NEW_EMAIL, code)
            if email is not None:
                credentials = [Credential(account.key, EMAIL, email), Credential(account.key, NEW_EMAIL, None)]
                await self._emit(decide_account_set(user, account, "email", ""), credentials)
                return account
        if account is None or account.verified or self._proved_by(account.key, VERIFY, code) is None:
            self.guessing.failed(ctx.session.address, "")
            raise AccountError("INVALID_CODE", "This is not the code of an account that waits for one")
        nick = ctx.nick
        await self._emit(decide_verify(account, ctx.session.uid or None, nick), [Credential(account.key, VERIFY, None)])
        await self.log_in(ctx, account, "verification")
        return account

    async def send_reset(self, ctx: Context, name: str) -> None:
        """Mail a code with which the password of an account can be set anew; says nothing about whether it exists."""
        if self.mailer is None:
            raise AccountError("TEMPORARILY_UNAVAILABLE", "This network cannot send mail")
        if self.guessing.refuses(ctx.session.address, ""):
            raise AccountError("TEMPORARILY_UNAVAILABLE", "Too many tries, come back later")
        self.guessing.failed(ctx.session.address, "")
        account = self.server.state.account_named(name)
        email = "" if account is None else self.email_of(account)
        if account is None or not email:
            return
        credentials: list[Credential] = []
        code = self._new_code(account.key, RESET, credentials)
        await self._emit(decide_account_set(None, account, "reset-code", ""), credentials)
        line = f"/msg NickServ RESETPASS {name} {code} NEWPASSWORD"
        # Nobody waits for it, and what goes wrong is in the operator's log alone: neither how long it takes nor how it
        # ends tells who asked that there is such an account.
        mailed = ensureDeferred(self._mail_code(account, email, "Set a new password", line))
        mailed.addErrback(lambda failure: None if failure.check(AccountError) else log.failure("no mail", failure))

    async def reset(self, ctx: Context, name: str, code: str, password: str) -> None:
        """Set a new password with a mailed code."""
        account = self.server.state.account_named(name)
        prepared = self.check_password(password)
        if account is None or self._proved_by(account.key, RESET, code) is None:
            self.guessing.failed(ctx.session.address, "")
            raise AccountError("INVALID_CODE", "This is not the code that was mailed")
        credentials = await self._new_secrets_of(account, prepared)
        credentials.append(Credential(account.key, RESET, None))
        await self._emit(decide_account_set(None, account, "password", ""), credentials)
        self._end_others(ctx, account)

    async def set_password(self, ctx: Context, account: Account, password: str) -> int:
        """The owner sets a new password.  Gives how many other clients were disconnected: the old one let them in."""
        credentials = await self._new_secrets_of(account, self.check_password(password))
        await self._emit(decide_account_set(ctx.user, account, "password", ""), credentials)
        return self._end_others(ctx, account)

    def _end_others(self, ctx: Context, account: Account) -> int:
        """Disconnect the clients of an account but the one of `ctx`; gives how many these were."""
        server = self.server
        users = server.state.users_of_account(account.key)
        others = [each for user in users for each in server.users.sessions_of(user.uid) if each is not ctx.session]
        for session in others:
            session.close("The password of your account was changed")
        return len(others)

    async def set_email(self, ctx: Context, account: Account, email: str) -> bool:
        """The owner sets another address; an empty one removes it, unless the network asks for one.

        Where it asks for one the address must be proved first: False then, and a code is mailed to it.
        """
        required = self.server.config.accounts.require_email
        if email or required:
            self.check_email(email)
        if not required:
            await self._emit(
                decide_account_set(ctx.user, account, "email", ""), [Credential(account.key, EMAIL, email or None)]
            )
            return True
        if self.guessing.refuses(ctx.session.address, ""):
            raise AccountError("TEMPORARILY_UNAVAILABLE", "Too many tries, come back later")
        self.guessing.failed(ctx.session.address, "")
        credentials: list[Credential] = []
        code = self._new_code(account.key, NEW_EMAIL, credentials, email)
        await self._emit(decide_account_set(ctx.user, account, "email-code", ""), credentials)
        line = f"/msg NickServ VERIFY {account.name} {code}"
        await self._mail_code(account, email, "Confirm your new address", line)
        return False

    async def drop(self, user: User, account: Account) -> None:
        """Remove an account, and all that proved to own it."""
        await self._emit(decide_drop(user, account), [Credential(account.key, "", None)])

    # --- log-in ---------------------------------------------------------------------------------------------------

    async def authenticate(self, address: str, name: str, password: str) -> Account:
        """The account that the password proves to own.  Raises AccountError, in one way for all that can be wrong."""
        key = self.server.state.fold(name)
        owner = self.server.state.owner_of_nick(name)
        account = self.server.state.accounts.get(key) or owner
        key = key if account is None else account.key
        self.check_guessing(address, key)
        known = self._credentials.get((key, PASSWORD))
        cost = self.server.config.passwords.cost
        try:
            prepared = str(get_profile("OpaqueString").enforce(password))
        except UnicodeEncodeError:
            prepared = ""
        version = self.version(key)
        self.guessing.failed(address, key)
        right = await self._run(lambda: verify_now(known or _nobodys_hash(cost), prepared))
        account = self.server.state.accounts.get(key)
        if not right or not prepared or account is None or version != self.version(key):
            raise AccountError("INVALID_CREDENTIALS", "Wrong account or password")
        self.guessing.succeeded(address, key, counted=True)
        return self.usable(account)

    def check_guessing(self, address: str, key: str) -> None:
        """Raise AccountError if tries from this address, or for this account, are not looked at for a while."""
        if self.guessing.refuses(address, key):
            raise AccountError("TEMPORARILY_UNAVAILABLE", "Too many wrong passwords, try again later")

    @staticmethod
    def usable(account: Account) -> Account:
        """The account, unless its address has to be proved first."""
        if not account.verified:
            raise AccountError("VERIFICATION_REQUIRED", "The e-mail address of this account is not proved yet")
        return account

    async def log_in(self, ctx: Context, account: Account, method: str) -> None:
        """Log a client in; one that is no user yet will be when it is.  Tells it so.

        Raises AccountError if the account is gone, or another one has its name.
        """
        state = self.server.state
        known = state.accounts.get(account.key)
        if known is None or known.registered_at != account.registered_at:
            raise AccountError("INVALID_CREDENTIALS", "Wrong account or password")
        user = state.users.get(ctx.session.uid)
        if user is not None:
            events: list[Event] = list(login_events(state, user.uid, user.nick, account.name, method))
            await self.server.bus.emit(events, ctx)
            await self.settle_always_on(account)
        else:
            ctx.session.pending_login = Login(account.key, method, self.version(account.key))
        source = f"{ctx.nick}!*@*" if user is None else user.source
        ctx.reply(RPL_LOGGEDIN, source, account.name, text=f"You are now logged in as {account.name}")

    async def settle_always_on(self, account: Account) -> None:
        """Who is logged in to the account stays, or does not, as it wants now."""
        server = self.server
        for user in server.state.users_of_account(account.key):
            await server.bus.emit(decide_persistence(server.state, user, server.config.bouncer))
