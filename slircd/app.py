"""`twistd slircd`: builds the tree of services from a configuration, and alone knows everything.

    slircd
      events      opens the log, closes it last
      passwords   threads for hashing
      network     replays the log, then serves; its children are users and channels
      listeners   one for each endpoint
      plugins     each a process of its own
      admin       the admin API and webhooks, if they are configured
      meter       how long the reactor's turns are, and how much one may hold
      lag         how late the reactor is, for the metrics beside them
      housekeeping  checkpoints, and the check that the state is the log
      retention     what is kept for how long, and erasure
      signals     HUP
      manager     systemd is told that the server is up
      collector   Python's search for cycles, when everything has started

What is wrong with configuration, secrets or certificates is reported before anything starts.  What only shows when the
process runs, a log in use or a port that is taken, ends it with one line and exit status 1.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec
import txaio
from sqlalchemy.engine import make_url
from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred, succeed
from twisted.internet.protocol import Factory
from twisted.internet.threads import deferToThread, deferToThreadPool
from twisted.python import usage
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from slircd import logs
from slircd.about import version
from slircd.config.load import DEFAULT_FILE, ConfigError, Problem, read_config
from slircd.config.sections import AdminUser, Config, Oper
from slircd.events.bus import ClockBehindLog
from slircd.events.checkpoints import DamagedBase
from slircd.events.migrate import SchemaError
from slircd.events.store import SQLStore, StoreError
from slircd.events.types import SERVER, OperRehash
from slircd.housekeeping import Housekeeping
from slircd.network.collector import Collector
from slircd.network.descriptors import raise_limit, room_for_clients
from slircd.network.listeners import (
    CannotListen,
    ListenerInfo,
    Plan,
    TLSContexts,
    build_listeners,
    plan_listeners,
)
from slircd.network.meter import TurnMeter
from slircd.network.protocol import IRCFactory
from slircd.network.server import IRCServer
from slircd.network.tls import TLSFileError
from slircd.plugins.manager import PluginManager
from slircd.rehash import merge
from slircd.retention.service import Retention
from slircd.secrets import Loaded, load_or_create
from slircd.security.certificates import ensure_self_signed, now_utc
from slircd.security.cloak import Cloak
from slircd.security.dnsbl import BlockLists
from slircd.security.passwords import Passwords, hash_now, verify_now
from slircd.services.mailer import Mailer, SendmailMailer, SMTPMailer
from slircd.state.feed import Damaged
from slircd.state.refold import CasemappingChange
from slircd.steady import keep_steady
from slircd.systemd import ManagerService, Notifier, from_environment

if TYPE_CHECKING:
    from slircd.admin.service import AdminService
    from slircd.security.outgoing import Outgoing

txaio.use_twisted()
log = txaio.make_logger()

HASH_THREADS: Final = 2


class Options(usage.Options):
    """The command line of `twistd slircd`."""

    synopsis = "[options]"
    longdesc = "Runs an IRC server whose every change of state is an event in its log."
    optParameters = (  # noqa: N815  # Twisted's name
        [
            "config",
            "c",
            None,
            f"Configuration file; without it {DEFAULT_FILE} in the working directory, if there is one",
        ],
    )

    def postOptions(self) -> None:  # noqa: N802  # Twisted's name
        """Have twistd log as the configuration asks, unless its own command line says how."""
        twistd: Any = self.parent
        # `twist`, which has another way to say how it logs, keeps that.
        if twistd is None or "logger" not in twistd:
            return
        if twistd["logfile"] or twistd["logger"] or twistd.get("syslog"):
            return
        # A configuration that is wrong is reported by makeService, which reads it again.
        with suppress(ConfigError):
            config, _ = read_config(self["config"])
            twistd["logger"] = logs.choose(config.log)


class ExitWithMessage(SystemExit):
    """Ends the process with exit status 1 and one line on stderr."""

    def __init__(self, text: str) -> None:
        super().__init__(f"slircd: {text}")


# --- configuration ------------------------------------------------------------------------------------------------


def with_admin(config: Config, password_hash: str) -> Config:
    """`config` with the operator `admin` of the first start, unless it defines one of that name itself."""
    if "admin" in config.opers:
        return config
    admin = Oper(password_hash=password_hash, oper_class="netadmin")
    return msgspec.structs.replace(config, opers={"admin": admin, **config.opers})


def read_motd(config: Config) -> list[str]:
    """The lines of the message of the day.  Raises ConfigError if its file cannot be read."""
    text = config.server.motd
    if config.server.motd_file:
        try:
            text = Path(config.server.motd_file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            found = f'"{config.server.motd_file}" ({error})'
            problem = Problem("server.motd_file", found, "a file with UTF-8 text that can be read")
            raise ConfigError("configuration", problem) from None
    return text.rstrip().expandtabs(8).splitlines()


def make_blocklists(config: Config, reactor: Any) -> BlockLists | None:
    """The DNS block lists, asked through the machine's resolver; None if there are none."""
    if not config.dnsbl:
        return None
    from twisted.names.client import createResolver

    return BlockLists(config.dnsbl, createResolver(), reactor)


def make_outgoing(reactor: Any, allow_private: bool) -> Outgoing:
    """An HTTP client for what plugins ask; imported only when one does."""
    from slircd.security.outgoing import Outgoing

    return Outgoing(reactor, allow_private=allow_private)


def make_mailer(config: Config, reactor: Any) -> Mailer | None:
    """How mail is sent, or None.  Raises ConfigError if the password's file cannot be read."""
    mail = config.mail
    if mail.sendmail:
        return SendmailMailer(mail.sendmail, mail.sender, reactor)
    if not mail.smtp_host:
        return None
    password: str | None = None
    if mail.smtp_password_file:
        try:
            password = Path(mail.smtp_password_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            problem = Problem(
                "mail.smtp_password_file", f'"{mail.smtp_password_file}" ({error})', "a file that can be read"
            )
            raise ConfigError("configuration", problem) from None
    return SMTPMailer(mail, password, reactor)


# --- services -----------------------------------------------------------------------------------------------------


class Tree(MultiService):
    """Services that start in their order and stop in the opposite one, each when the one before has stopped."""

    def stopService(self) -> Deferred[None]:  # noqa: N802  # Twisted's name
        """Stop them one after the other."""
        Service.stopService(self)
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        for service in reversed(list(self)):
            try:
                await maybeDeferred(service.stopService)
            except Exception:
                log.failure("stopping {name} failed", name=service.name)


class EventLogService(Service):
    """The log: opened after the process has become a daemon, closed when everything else has stopped."""

    def __init__(self, store: SQLStore) -> None:
        self.setName("events")
        self._store = store

    def startService(self) -> None:  # noqa: N802  # Twisted's name
        """Open the log, which starts its writer."""
        super().startService()
        self._store.open()

    def stopService(self) -> Deferred[None]:  # noqa: N802  # Twisted's name
        """Write what is still to be written, and close."""
        super().stopService()
        return deferToThread(self._store.close)


class PasswordThreads(Service):
    """The threads that hash passwords: few, so that a flood of log-ins leaves the machine to others."""

    def __init__(self, reactor: Any) -> None:
        self.setName("passwords")
        self._reactor = reactor
        self._pool = ThreadPool(0, HASH_THREADS, "passwords")

    def run(self, function: Callable[[], Any]) -> Deferred[Any]:
        """Call `function` in a thread."""
        return deferToThreadPool(self._reactor, self._pool, function)

    def startService(self) -> None:  # noqa: N802  # Twisted's name
        """Start the pool; it makes threads when it needs them."""
        super().startService()
        self._pool.start()

    def stopService(self) -> Deferred[None]:  # noqa: N802  # Twisted's name
        """Wait for what is being hashed."""
        super().stopService()
        return deferToThread(self._pool.stop)


class Signals(Service):
    """SIGHUP means REHASH."""

    def __init__(self, reactor: Any, rehash: Callable[[str], Deferred[list[str]]]) -> None:
        self.setName("signals")
        self._reactor = reactor
        self._rehash = rehash

    def privilegedStartService(self) -> None:  # noqa: N802  # Twisted's name
        """Take the signal from the first moment on: its default would end a server that is still replaying.

        What it asks for waits until the reactor runs.
        """
        super().privilegedStartService()
        signal.signal(signal.SIGHUP, self._hangup)

    def _hangup(self, _number: int, _frame: object) -> None:
        self._reactor.callFromThread(self._run)

    def _run(self) -> None:
        self._rehash(SERVER).addErrback(lambda failure: log.failure("rehash failed", failure=failure))


class SlircdService(Tree):
    """The whole server: the root of the tree."""

    def __init__(
        self, config: Config, file: str, plans: list[Plan], loaded: Loaded, reactor: Any, notifier: Notifier, files: int
    ) -> None:
        """`files` is how many the process may have open.  Raises ConfigError and TLSFileError."""
        super().__init__()
        self.setName("slircd")
        self._file = file
        self._reactor = reactor
        self._secrets = loaded.secrets
        self._plans = plans
        self._certificates = TLSContexts()
        self._admin_service: AdminService | None = None
        self._notifier = notifier
        self._meter = TurnMeter(reactor)
        self._collector = Collector(reactor, lambda: len(self.server.sessions))
        self.store = SQLStore(
            config.database.url,
            call_in_reactor=reactor.callFromThread,
            seconds=reactor.seconds,
            upgrade=config.database.upgrade,
        )
        threads = PasswordThreads(reactor)
        config = with_admin(config, loaded.secrets.oper_password_hash)
        self.server = server = IRCServer(
            config,
            self.store,
            reactor=reactor,
            cloak=Cloak(bytes.fromhex(loaded.secrets.cloak_key), config.cloak.suffix),
            passwords=Passwords(threads.run, config.passwords.cost),
            session_id=uuid4().hex,
            rng=SystemRandom(),
            epoch_s=time.time,
        )
        server.accounts.mailer = make_mailer(config, reactor)
        server.blocklists = make_blocklists(config, reactor)
        server.config_file = file
        server.motd = read_motd(config)
        server.listeners = [ListenerInfo(plan.name, plan.tls, plan.websocket) for plan in plans]
        server.rehash = self.rehash
        server.housekeeping = housekeeping = Housekeeping(server, config.database.url, reactor)
        server.channel_at = housekeeping.channel_at
        server.room_for_clients = room_for_clients(files)
        server.use_config(config)
        if server.room_for_clients < config.limits.clients:
            log.warn(
                "{room} of limits.clients = {clients} can connect: the process may have {files} files open (ulimit -n)",
                room=server.room_for_clients,
                clients=config.limits.clients,
                files=files,
            )
        server.stop = self.stop
        self.store.on_fatal = self._fatal
        listeners = build_listeners(plans, self._factory, self._certificates, config.tls.minimum, reactor, file)
        children: tuple[IService, ...] = (
            EventLogService(self.store),
            threads,
            server,
            listeners,
            PluginManager(server, in_thread=deferToThread, outgoing=lambda private: make_outgoing(reactor, private)),
            self._meter,
            *self._admin(config, reactor),
            housekeeping,
            Retention(server, config.database.url, reactor),
            Signals(reactor, self.rehash),
            ManagerService(notifier, reactor, self.status),
            self._collector,
        )
        for child in children:
            child.setServiceParent(self)

    def _admin(self, config: Config, reactor: Any) -> list[IService]:
        """What stands beside the server for those who run it: the admin API, webhooks, metrics."""
        if not config.admin.enabled and not config.webhooks:
            return []
        # A tenth of a second of imports, which a server without them need not pay.
        from slircd.admin.service import AdminService
        from slircd.metrics import Metrics
        from slircd.network.lag import LagProbe

        metrics = Metrics(self.server, self._certificates.expiries, self._meter.turns, self._collector)
        self.server.bus.subscribe("metrics", metrics.event)
        self.store.watch_commits(metrics.committed)
        self._admin_service = AdminService(
            self.server, metrics, self._admin_users, self._certificates, self._file, reactor
        )
        return [self._admin_service, LagProbe(reactor, metrics.lag.observe)]

    def _factory(self, plan: Plan) -> Factory[Any]:
        """What speaks IRC on a listener."""
        if not plan.websocket:
            return IRCFactory(self.server)
        # A quarter of a second of imports, which a server without WebSocket need not pay.
        from slircd.network.websocket import WebSocketIRCFactory

        return WebSocketIRCFactory(self.server, plan, self._reactor)

    def _admin_users(self) -> Mapping[str, AdminUser]:
        """The users of the configuration in force, and `admin` of the first start."""
        users = self.server.config.admin.users
        first = AdminUser(password_hash=self._secrets.admin_password_hash, role="admin")
        return users if "admin" in users else {"admin": first, **users}

    def privilegedStartService(self) -> None:  # noqa: N802  # Twisted's name
        """Bind the ports, while that is still allowed."""
        try:
            super().privilegedStartService()
        except CannotListen as error:
            raise ExitWithMessage(str(error)) from None

    def startService(self) -> None:  # noqa: N802  # Twisted's name
        """Open the log, replay it, serve."""
        try:
            super().startService()
        except (CannotListen, CasemappingChange, StoreError, SchemaError, ClockBehindLog, DamagedBase) as error:
            raise ExitWithMessage(str(error)) from None
        except Damaged as error:
            raise ExitWithMessage(f"the log cannot be replayed: {error}") from None
        log.info("{text}", text=how_to_connect(self._plans, self.server.config, self._file))

    def stop(self, reason: str) -> None:
        """Stop the process in order, telling clients `reason`."""
        self.server.stop_reason = reason
        self._reactor.callLater(0, self._reactor.stop)

    def _fatal(self, text: str) -> None:
        log.critical("the server stops: {text}", text=text)
        self.stop("The event log cannot be written any more")

    def status(self) -> str:
        """How it goes, in one line."""
        state = self.server.state
        health = "the event log cannot be written" if self.server.bus.degraded else "ready"
        return f"{health}: {len(self.server.sessions)} connections, {len(state.channels)} channels"

    # --- REHASH -----------------------------------------------------------------------------------------------------

    def rehash(self, actor: str) -> Deferred[list[str]]:
        """Read configuration, certificates, operators and MOTD again, for `actor`.

        Resolves to what is to be told of it.  A file that is wrong changes nothing.
        """
        self._notifier.reloading()
        done: Deferred[list[str]] = maybeDeferred(self._rehash, actor)

        def ready(result: Any) -> Any:
            self._notifier.ready(self.status())
            return result

        return done.addBoth(ready)

    def _rehash(self, actor: str) -> Deferred[list[str]]:
        server = self.server
        try:
            config, _ = read_config(self._file if Path(self._file).exists() else None)
            config, kept = merge(server.config, config)
            motd = read_motd(config)
            mailer = make_mailer(config, self._reactor)
            hook_secrets = self._check_webhooks(config)
        except ConfigError as error:
            log.error("rehash: nothing is changed: {error}", error=str(error))
            return succeed(["Nothing is changed:", *str(error).splitlines()])
        config = with_admin(config, self._secrets.oper_password_hash)
        server.use_config(config)
        server.accounts.mailer = mailer
        server.blocklists = make_blocklists(config, self._reactor)
        server.motd = motd
        if self._admin_service is not None:
            self._admin_service.configure(config, hook_secrets)
        elif config.webhooks:
            kept.append("webhooks")
        told = [f"{problem}; the certificate in use stays" for problem in self._certificates.reload()]
        if kept:
            told.append(f"These keys need a restart to change: {', '.join(kept)}")
        for text in told:
            log.warn("rehash: {text}", text=text)
        log.info("configuration read again, asked by {actor}", actor=actor)
        user = server.state.users.get(actor)
        event = OperRehash(actor_uid=actor, target=config.server.sid, nick=user.nick if user is not None else "")
        emitted = server.bus.emit([event])
        emitted.addErrback(self._not_logged)
        return emitted.addCallback(lambda _: [*told, "Configuration, certificates and MOTD are read again"])

    def _check_webhooks(self, config: Config) -> Mapping[str, bytes]:
        if self._admin_service is None:
            return {}
        from slircd.admin.service import check_webhooks

        return check_webhooks(config, self._file)

    @staticmethod
    def _not_logged(failure: Failure) -> None:
        log.warn("the rehash could not be logged: {reason}", reason=failure.value)


# --- what the operator sees ---------------------------------------------------------------------------------------


def how_to_connect(plans: list[Plan], config: Config, file: str) -> str:
    """What is logged when the server is up."""
    lines = [f"slircd {version()} is up."]
    lines += [f"  {'TLS  ' if plan.tls else 'plain'}  {plan.name}" for plan in plans]
    plain = next((plan for plan in plans if not plan.tls and plan.name.rpartition(":")[2].isdigit()), None)
    if plain is not None:
        address, _, port = plain.name.rpartition(":")
        lines.append(f"Connect, for example:   irssi --connect={address} --port={port} --nick=ann")
    lines.append("Become IRC operator:    /OPER admin PASSWORD")
    if config.admin.enabled:
        scheme = "https" if config.admin.tls else "http"
        address = f"{scheme}://{config.admin.address}:{config.admin.port}"
        lines.append(f"Look in a browser:      {address}/")
        lines.append(f"Ask the admin API:      curl -u admin:PASSWORD '{address}/admin/events?from=-1h'")
    log_file = make_url(config.database.url)
    if log_file.get_backend_name() == "sqlite":
        lines.append(f"Read the log:           sqlite3 {log_file.database} 'SELECT * FROM events LIMIT 20;'")  # noqa: S608  # shown, not run
        lines.append(f"Look at the past:       {beside('slircd-replay')} --db {log_file.database} --at -1m")
    if Path(file).exists():  # an example written there would take the place of what the operator has
        lines.append(f"Check configuration:    {beside('slircd')} config check {file}, then kill -HUP {os.getpid()}")
    else:
        lines.append(f"Configure:              {beside('slircd')} config example > {file}, then restart")
    return "\n".join(lines)


def beside(command: str) -> str:
    """How to call a command of this installation from here: by its name, or with its folder if that is not on PATH."""
    found = Path(sys.executable).with_name(command)
    if shutil.which(command) is not None or not found.exists():
        return command
    with suppress(ValueError):
        found = found.relative_to(Path.cwd())
    return str(found)


def show_generated(generated: dict[str, str], file: str) -> None:
    """Show the passwords that were just made; this once, and never in a log."""
    names = {"admin": "admin API, user admin", "oper": "IRC operator, /OPER admin"}
    if generated:
        print("First start: these passwords are shown once; their hashes are kept in", file)  # noqa: T201
        for name, password in generated.items():
            print(f"  {names[name]}: {password}", flush=True)  # noqa: T201


def make_certificate(plans: list[Plan], config: Config) -> None:
    """Make a self-signed certificate for listeners that go by the default files, where there is none."""
    certificate, key = Path(config.tls.certificate), Path(config.tls.private_key)
    wanted = [plan.certificate for plan in plans if plan.tls]
    if config.admin.enabled and config.admin.tls:
        wanted.append(Path(config.admin.certificate or config.tls.certificate))
    if certificate in wanted:
        try:
            fingerprint = ensure_self_signed(certificate, key, config.server.name, now_utc(time.time()))
        except OSError as error:
            raise ConfigError(str(certificate), Problem("", "cannot be written", str(error))) from None
        if fingerprint is not None:
            print(f"Made a self-signed certificate, {certificate}; its SHA-256 fingerprint is {fingerprint}")  # noqa: T201


def makeService(options: Options) -> MultiService:  # noqa: N802  # twistd's name
    """The tree of services; what is wrong with files ends the process with words."""
    from twisted.internet import reactor  # the one place that knows the reactor

    keep_steady(reactor, time.monotonic)
    txaio.config.loop = reactor
    try:
        config, file = read_config(options["config"])
        plans = plan_listeners(config, file)
        loaded = load_or_create(Path(config.secrets_file), os.environ, hash_now, verify_now)
        show_generated(loaded.generated, config.secrets_file)
        make_certificate(plans, config)
        return SlircdService(config, file, plans, loaded, reactor, from_environment(time.monotonic), raise_limit())
    except (ConfigError, TLSFileError, StoreError) as error:
        raise ExitWithMessage(str(error)) from None
