"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import on_config as on_config  # these fill the table
from tests.fuzz import on_http as on_http
from tests.fuzz import on_log as on_log
from tests.fuzz import on_network as on_network
from tests.fuzz import on_plugins as on_plugins
from tests.fuzz import on_wire as on_wire
from tests.fuzz import server as server
from tests.fuzz.registry import TARGETS

__all__ = ["TARGETS"]
