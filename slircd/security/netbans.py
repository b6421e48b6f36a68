"""Network bans in memory, so that a new connection is checked quickly however many there are.

Addresses are looked up by longest prefix: one hash look-up for each prefix length that is in use, at most 33 and 129.
Masks that end in a literal host, or in a literal suffix such as *.example.org, are found by that; only what is left,
stars in the middle, is tried one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Final

from slircd.state.model import NetworkBan
from slircd.wire.masks import matches_glob, network_of

Bans = dict[str, NetworkBan]
"""By casefolded mask."""

_WILD: Final = frozenset("*?")


class NetworkTable:
    """Bans of networks, by longest prefix."""

    def __init__(self) -> None:
        self._tables: dict[int, dict[int, dict[int, Bans]]] = {4: {}, 6: {}}

    def add(self, mask: str, host: str, ban: NetworkBan) -> bool:
        """Take a ban whose host part is a network or an address; False if it is neither."""
        network = network_of(host if "/" in host else _as_network(host))
        if network is None:
            return False
        table = self._tables[network.version].setdefault(network.prefixlen, {})
        table.setdefault(int(network.network_address), {})[mask] = ban
        return True

    def remove(self, mask: str, host: str) -> bool:
        """Forget a ban; False if its host is no network."""
        network = network_of(host if "/" in host else _as_network(host))
        if network is None:
            return False
        tables = self._tables[network.version]
        table = tables.get(network.prefixlen, {})
        bans = table.get(int(network.network_address), {})
        bans.pop(mask, None)
        if not bans:
            table.pop(int(network.network_address), None)
        if not table:
            tables.pop(network.prefixlen, None)
        return True

    def covering(self, ip: str) -> Iterator[tuple[str, NetworkBan]]:
        """The bans whose network has the address in it, narrowest first."""
        if not self:
            return
        try:
            address = ip_address(ip)
        except ValueError:
            return
        number, bits = int(address), address.max_prefixlen
        tables = self._tables[address.version]
        for prefix in sorted(tables, reverse=True):
            shift = bits - prefix
            yield from tables[prefix].get(number >> shift << shift, {}).items()

    def __bool__(self) -> bool:
        return any(self._tables.values())


def _as_network(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return f"{host}/{address.max_prefixlen}"


class HostTable:
    """Bans of user@host, by the literal end of the host."""

    def __init__(self) -> None:
        self._networks = NetworkTable()
        self._hosts: dict[str, Bans] = {}
        self._suffixes: dict[str, Bans] = {}
        self._others: Bans = {}

    def _place(self, host: str) -> tuple[dict[str, Bans], str] | None:
        if not _WILD & set(host):
            return self._hosts, host
        if host.startswith("*.") and not _WILD & set(host[2:]):
            return self._suffixes, host[2:]
        return None

    def add(self, mask: str, ban: NetworkBan) -> None:
        """Take a ban; `mask` is its casefolded user@host."""
        host = mask.partition("@")[2]
        if self._networks.add(mask, host, ban):
            return
        place = self._place(host)
        if place is None:
            self._others[mask] = ban
        else:
            place[0].setdefault(place[1], {})[mask] = ban

    def remove(self, mask: str) -> None:
        """Forget a ban."""
        host = mask.partition("@")[2]
        if self._networks.remove(mask, host):
            return
        place = self._place(host)
        if place is None:
            self._others.pop(mask, None)
            return
        bans = place[0].get(place[1], {})
        bans.pop(mask, None)
        if not bans:
            place[0].pop(place[1], None)

    def find(self, username: str, hosts: tuple[str, ...], ip: str) -> NetworkBan | None:
        """A ban that hits the user name at one of the hosts or the address; all are casefolded."""
        if not self:
            return None
        for mask, ban in self._candidates(hosts, ip):
            if matches_glob(mask.partition("@")[0], username):
                return ban
        for mask, ban in self._others.items():
            user, _, host = mask.partition("@")
            if matches_glob(user, username) and any(matches_glob(host, each) for each in (*hosts, ip)):
                return ban
        return None

    def _candidates(self, hosts: tuple[str, ...], ip: str) -> Iterator[tuple[str, NetworkBan]]:
        yield from self._networks.covering(ip)
        for host in hosts:
            yield from self._hosts.get(host, {}).items()
            suffix = host
            while "." in suffix:
                suffix = suffix.partition(".")[2]
                yield from self._suffixes.get(suffix, {}).items()

    def __bool__(self) -> bool:
        return bool(self._hosts or self._suffixes or self._others or self._networks)


class BanTables:
    """All network bans, each kind in the table that finds it."""

    def __init__(self, fold: Callable[[str], str]) -> None:
        self._fold = fold
        self._addresses = {"dline": NetworkTable(), "zline": NetworkTable()}
        self._hosts = {"kline": HostTable(), "gline": HostTable(), "shun": HostTable()}
        self._realnames: Bans = {}
        self.has_shuns = False
        """Whether anybody is shunned: asked at every command, so it is kept."""

    def add(self, kind: str, ban: NetworkBan) -> None:
        """A ban was set."""
        mask = self._fold(ban.mask)
        if kind in self._addresses:
            self._addresses[kind].add(mask, mask, ban)
        elif kind in self._hosts:
            self._hosts[kind].add(mask, ban)
            self.has_shuns = bool(self._hosts["shun"])
        else:
            self._realnames[mask] = ban

    def remove(self, kind: str, mask: str) -> None:
        """A ban was removed."""
        mask = self._fold(mask)
        if kind in self._addresses:
            self._addresses[kind].remove(mask, mask)
        elif kind in self._hosts:
            self._hosts[kind].remove(mask)
            self.has_shuns = bool(self._hosts["shun"])
        else:
            self._realnames.pop(mask, None)

    def for_address(self, ip: str) -> NetworkBan | None:
        """The D-line or Z-line that keeps an address out, if there is one."""
        for table in self._addresses.values():
            for _, ban in table.covering(ip):
                return ban
        return None

    def for_user(self, username: str, hosts: tuple[str, ...], ip: str, realname: str) -> NetworkBan | None:
        """The K-line, G-line or R-line that keeps a user out, if there is one."""
        fold = self._fold
        name, folded = fold(username), tuple(fold(host) for host in hosts)
        for kind in ("kline", "gline"):
            ban = self._hosts[kind].find(name, folded, ip)
            if ban is not None:
                return ban
        text = fold(realname)
        for mask, ban in self._realnames.items():
            if matches_glob(mask, text):
                return ban
        return None

    def shuns(self, username: str, hosts: tuple[str, ...], ip: str) -> bool:
        """Whether a user is shunned."""
        fold = self._fold
        return self._hosts["shun"].find(fold(username), tuple(fold(host) for host in hosts), ip) is not None
