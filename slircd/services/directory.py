"""Which services there are."""

from __future__ import annotations

from typing import Final

from slircd.services.chanserv import chanserv
from slircd.services.dispatch import Service
from slircd.services.nickserv import nickserv

SERVICES: Final[dict[str, Service]] = {service.nick.lower(): service for service in (nickserv, chanserv)}
"""The services by lower-case nick: what says hello at start, and whom messages reach."""
