"""The service `admin` of the tree: the HTTP listener, the feed, and webhooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any

import txaio
from twisted.application.service import MultiService
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThread

from slircd.admin.app import AdminAPI
from slircd.admin.auth import Authenticator
from slircd.admin.call import Backend
from slircd.admin.feed import Feed
from slircd.admin.pool import PastInProcesses
from slircd.admin.site import AdminSite
from slircd.admin.tables import SideTables
from slircd.admin.tokens import Tokens
from slircd.admin.webhooks import Webhook, read_secret
from slircd.config.load import ConfigError, Problem
from slircd.network.listeners import Listener, Plan, TLSContexts, quote
from slircd.network.tls import over_tls
from slircd.security.outgoing import Outgoing, Refused, check_url

if TYPE_CHECKING:
    from slircd.config.sections import AdminUser, Config
    from slircd.metrics import Metrics
    from slircd.network.server import IRCServer

txaio.use_twisted()
log = txaio.make_logger()


def plan_admin(config: Config) -> Plan:
    """Where the API listens."""
    admin = config.admin
    return Plan(
        key="admin",
        name=f"{admin.address}:{admin.port}",
        endpoint=f"tcp:{admin.port}:interface={quote(admin.address)}",
        tls=admin.tls,
        certificate=Path(admin.certificate or config.tls.certificate),
        private_key=Path(admin.private_key or config.tls.private_key),
        chain=None,
        proxies=(),
    )


def check_webhooks(config: Config, file: str) -> dict[str, bytes]:
    """The secrets of the webhooks by name.  Raises ConfigError for a file or a URL that cannot be used."""
    secrets: dict[str, bytes] = {}
    for index, section in enumerate(config.webhooks):
        at = f"webhooks[{index}]"
        try:
            check_url(section.url)
            secrets[section.name] = secret = read_secret(section)
        except Refused as error:
            raise ConfigError(file, Problem(f"{at}.url", f'"{section.url}"', str(error))) from None
        except OSError as error:
            found = f'"{section.secret_file}" ({error.strerror})'
            raise ConfigError(file, Problem(f"{at}.secret_file", found, "a file that can be read")) from None
        if section.secret_file and len(secret) < 16:
            raise ConfigError(file, Problem(f"{at}.secret_file", f"{len(secret)} bytes", "a secret of at least 16"))
    return secrets


class AdminService(MultiService):
    """What stands beside the IRC server for those who run it."""

    def __init__(
        self,
        server: IRCServer,
        metrics: Metrics,
        users: Callable[[], Mapping[str, AdminUser]],
        certificates: TLSContexts,
        file: str,
        reactor: Any,
    ) -> None:
        """`users` gives those of the configuration in force.  Raises ConfigError and TLSFileError."""
        super().__init__()
        self.setName("admin")
        config = server.config
        self._server = server
        self._reactor = reactor
        self._tables = SideTables(config.database.url)
        past = PastInProcesses(config.database.url, reactor)
        past.setServiceParent(self)
        self.feed = Feed(server.bus, past, reactor, lambda: server.gate.committed_sequence)
        self._webhooks = MultiService()
        self._webhooks.setName("webhooks")
        self.configure(config, check_webhooks(config, file))
        metrics.watch_feed(self.feed, lambda: list(self._webhooks))
        self._webhooks.setServiceParent(self)
        if not config.admin.enabled:
            return
        tokens = Tokens(self._tables, server.epoch_s, deferToThread)
        authenticator = Authenticator(users, server.passwords, reactor, tokens)
        api = AdminAPI(Backend(server, past, metrics, authenticator, self.feed, deferToThread))
        served: Any = AdminSite(
            api.resource(),
            reactor,
            connections=lambda: server.config.admin.connections,
            request_s=lambda: server.config.timeouts.handshake_s,
        )
        plan = plan_admin(config)
        if plan.tls:
            # No certificates of clients: a browser would ask people for one.
            tls = certificates.for_plan(plan, config.tls.minimum, client_certificates=False)
            served = over_tls(served, tls, reactor)
        kind = "the admin API" + (" over TLS" if plan.tls else "")
        Listener(plan, serverFromString(reactor, plan.endpoint), served, kind).setServiceParent(self)

    def configure(self, config: Config, secrets: Mapping[str, bytes]) -> None:
        """Run the webhooks of a configuration: those that are as they were go on."""
        wanted = {section.name: section for section in config.webhooks}
        for hook in list(self._webhooks):
            if isinstance(hook, Webhook):
                if wanted.get(hook.section.name) == hook.section and secrets[hook.section.name] == hook.secret:
                    del wanted[hook.section.name]
                else:
                    hook.disownServiceParent()
        for section in wanted.values():
            Webhook(
                section,
                secrets[section.name],
                Outgoing(self._reactor, allow_private=section.allow_private),
                self.feed,
                self._tables,
                reactor=self._reactor,
                epoch_s=self._server.epoch_s,
                rng=SystemRandom(),
                run=deferToThread,
                server=config.server.name,
                messages=config.admin.live_messages,
            ).setServiceParent(self._webhooks)

    def stopService(self) -> Any:
        """Stop listening and posting, then let go of the database."""
        stopped: Any = super().stopService()
        return stopped.addBoth(self._close)

    def _close(self, result: Any) -> Any:
        self._tables.close()
        return result
