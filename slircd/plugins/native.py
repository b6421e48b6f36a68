"""Native plugins: Python classes of installed distributions, in the server's own process.

They are trusted like the server itself: nothing confines them, and one that blocks stops everybody.  So none is loaded
unless the configuration names it in plugins.native; the entry points of others are not even imported.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import entry_points
from typing import Final

from slircd.commands.extensions import ManagerError
from slircd.plugins.interface import Plugin

GROUP: Final = "slircd.plugins"


def native_plugin(name: str, allowed: Collection[str]) -> Plugin | None:
    """A new native plugin of this name; None if the configuration names none.  Raises ManagerError."""
    if name not in allowed:
        return None
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        raise ManagerError(f"{name} is in plugins.native, but no installed package has it among its {GROUP}")
    try:
        plugin = found[0].load()()
    except Exception as error:
        raise ManagerError(f"the native plugin {name} cannot be imported: {type(error).__name__}: {error}") from None
    if not isinstance(plugin, Plugin):
        raise ManagerError(f"{found[0].value} is no slircd.plugins.interface.Plugin")
    return plugin
