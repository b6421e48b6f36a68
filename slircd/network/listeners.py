"""Listeners: where clients come in.  A configuration becomes services, one for each endpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import txaio
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from slircd.config.load import ConfigError, Problem, show
from slircd.config.sections import DEFAULT_LISTEN, Config, Listen
from slircd.network.meter import bound_accepts
from slircd.network.proxy import ProxyFactory
from slircd.network.tls import ReloadableTLS, TLSFileError, over_tls

txaio.use_twisted()
log = txaio.make_logger()

LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
"""Whose PROXY header an endpoint string `haproxy:` believes, unless `proxies` says otherwise."""

_TLS_ARGUMENTS: Final = ("port", "interface", "backlog", "privateKey", "certKey", "extraCertChain")


class ListenerInfo(msgspec.Struct, frozen=True):
    """What a session knows of where it came in."""

    name: str
    tls: bool
    websocket: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A listener, before it listens.  `endpoint` has no TLS and no PROXY of its own."""

    key: str
    name: str
    endpoint: str
    tls: bool
    certificate: Path
    private_key: Path
    chain: Path | None
    proxies: tuple[str, ...]
    websocket: bool = False
    origins: tuple[str, ...] = ("*",)
    forwarded_from: tuple[str, ...] = ()


class CannotListen(Exception):
    """An endpoint cannot be opened; the text says which and why."""


# --- from the configuration ---------------------------------------------------------------------------------------


def plan_listeners(config: Config, file: str) -> list[Plan]:
    """What to listen on.  Raises ConfigError, with `file`, for an endpoint string that is none."""
    tables = config.listen or DEFAULT_LISTEN
    return [_plan(config, listen, f"listen[{index}]", file) for index, listen in enumerate(tables)]


def _plan(config: Config, listen: Listen, key: str, file: str) -> Plan:
    text = listen.endpoint
    if text is None:
        address = quote(listen.address)
        text = f"tcp:{listen.port}:interface={address}:backlog={listen.backlog}"
    name = text if listen.endpoint is not None else f"{listen.address}:{listen.port}"
    proxies = tuple(listen.proxies)
    if text.startswith("haproxy:"):
        text = text.removeprefix("haproxy:")
        proxies = proxies or LOOPBACK
    tls = listen.tls
    certificate, private_key = listen.certificate, listen.private_key
    chain: str | None = None
    if text.startswith(("ssl:", "tls:")):
        tls = True
        arguments = _tls_arguments(text, f"{key}.endpoint", file)
        private_key = arguments.get("privateKey", private_key)
        certificate = arguments.get("certKey", arguments.get("privateKey", certificate))
        chain = arguments.get("extraCertChain")
        text = "tcp:" + ":".join(
            f"{name}={quote(value)}" for name, value in arguments.items() if name in ("port", "interface", "backlog")
        )
    return Plan(
        key=key,
        name=name,
        endpoint=text,
        tls=tls,
        certificate=Path(certificate or config.tls.certificate),
        private_key=Path(private_key or config.tls.private_key),
        chain=Path(chain) if chain is not None else None,
        proxies=proxies,
        websocket=listen.websocket,
        origins=tuple(listen.origins),
        forwarded_from=tuple(listen.forwarded_from),
    )


def quote(text: str) -> str:
    """`text` as a value in an endpoint string."""
    return text.replace("\\", "\\\\").replace(":", "\\:").replace("=", "\\=")


def split_endpoint(text: str) -> tuple[list[str], dict[str, str]]:
    """The positional and the named arguments of an endpoint string; a backslash quotes (Twisted's endpoints)."""
    positional: list[str] = []
    named: dict[str, str] = {}
    name, word = None, ""
    characters = iter([*text, ":"])
    for character in characters:
        if character == "\\":
            word += next(characters, "")
        elif character == "=" and name is None:
            name, word = word, ""
        elif character == ":":
            if name is None:
                positional.append(word)
            else:
                named[name] = word
            name, word = None, ""
        else:
            word += character
    return positional, named


def _tls_arguments(text: str, key: str, file: str) -> dict[str, str]:
    positional, arguments = split_endpoint(text)
    if len(positional) == 2:
        arguments = {"port": positional[1], **arguments}
    unknown = sorted(set(arguments) - set(_TLS_ARGUMENTS))
    if unknown or len(positional) > 2 or not arguments.get("port", "").isdigit():
        raise ConfigError(file, Problem(key, show(text), f"ssl:PORT with any of {', '.join(_TLS_ARGUMENTS[1:])}"))
    return arguments


# --- services -----------------------------------------------------------------------------------------------------


class TLSContexts:
    """The certificates in use: one ReloadableTLS for each pair of files, shared by the listeners that name it."""

    def __init__(self) -> None:
        self._by_files: dict[tuple[Path, Path, Path | None, bool], ReloadableTLS] = {}

    def for_plan(self, plan: Plan, minimum: str, *, client_certificates: bool = True) -> ReloadableTLS:
        """The TLS of a listener, which may ask for certificates of clients.  Raises TLSFileError."""
        files = (plan.certificate, plan.private_key, plan.chain, client_certificates)
        if files not in self._by_files:
            self._by_files[files] = ReloadableTLS(
                plan.certificate, plan.private_key, minimum, plan.chain, client_certificates=client_certificates
            )
        return self._by_files[files]

    def expiries(self) -> dict[str, float]:
        """When the certificate of each file ends, in seconds since the epoch."""
        return {str(files[0]): tls.expires_s for files, tls in self._by_files.items()}

    def reload(self) -> list[str]:
        """Read all files again; what is wrong with them, in words.  Pairs that are right are in use afterwards."""
        problems: list[str] = []
        for tls in self._by_files.values():
            try:
                tls.reload()
            except TLSFileError as error:
                problems.append(str(error))
        return problems


class _Introducing(Factory):
    """Tells each protocol through which listener it came in."""

    noisy = False

    def __init__(self, wrapped: Factory, info: ListenerInfo) -> None:
        self._wrapped = wrapped
        self._info = info

    def logPrefix(self) -> str:
        """What Twisted calls it in its log."""
        return "IRC"

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        protocol: Any = self._wrapped.buildProtocol(addr)
        if protocol is not None:
            protocol.listener = self._info
        return protocol  # type: ignore[no-any-return]  # any protocol with `listener`


class Listener(StreamServerEndpointService):
    """One listener.  An endpoint that cannot be opened stops the start with CannotListen."""

    # Twisted's own way (strports.service) to fail at once rather than log and go on without the listener.
    _raiseSynchronously = True

    def __init__(self, plan: Plan, endpoint: IStreamServerEndpoint, factory: Factory, kind: str = "") -> None:
        """`kind` says what it is for, in the log, where that is not IRC."""
        super().__init__(endpoint, factory)
        over = " over WebSocket" if plan.websocket else ""
        self._kind = kind or (f"TLS{over}" if plan.tls else f"plain IRC{over}")
        self.setName(f"{plan.key} {plan.name}")  # two listeners may both ask for port 0
        self.plan = plan

    def privilegedStartService(self) -> None:
        """Begin to listen.  Raises CannotListen."""
        try:
            super().privilegedStartService()
        except (CannotListenError, OSError) as error:
            reason = getattr(error, "socketError", error)
            text = getattr(reason, "strerror", None) or str(reason)
            raise CannotListen(f"cannot listen on {self.plan.name} ({self.plan.key}): {text}") from None
        waiting: Any = self._waitingForPort
        waiting.addCallback(self._listening)

    def _listening(self, port: IListeningPort) -> IListeningPort:
        log.info("listening on {host} for {kind}", host=port.getHost(), kind=self._kind)
        bound_accepts(port)
        return port


def build_listeners(
    plans: Sequence[Plan],
    factory_for: Callable[[Plan], Factory],
    contexts: TLSContexts,
    minimum: str,
    reactor: Any,
    file: str,
) -> MultiService:
    """The service `listeners`, one child for each plan.

    `factory_for` makes what speaks IRC, `minimum` is the oldest TLS version.  Raises ConfigError for an endpoint that Twisted does not know, TLSFileError
    for a certificate that cannot be used.
    """
    listeners = MultiService()
    listeners.setName("listeners")
    for plan in plans:
        try:
            endpoint = serverFromString(reactor, plan.endpoint)
        except (ValueError, TypeError, KeyError) as error:
            allowed = "tcp:, ssl:, tls:, systemd:, unix: or haproxy:, as Twisted's serverFromString has them"
            raise ConfigError(file, Problem(f"{plan.key}.endpoint", f"{show(plan.name)} ({error})", allowed)) from None
        served: Any = _Introducing(factory_for(plan), ListenerInfo(plan.name, plan.tls, plan.websocket))
        if plan.tls:
            # Browsers would ask people for a certificate, and those without a window wait for an answer for ever.
            tls = contexts.for_plan(plan, minimum, client_certificates=not plan.websocket)
            served = over_tls(served, tls, reactor, direct=not plan.websocket)
        if plan.proxies:
            served = ProxyFactory(served, plan.proxies, reactor)
        Listener(plan, endpoint, served).setServiceParent(listeners)
    return listeners
