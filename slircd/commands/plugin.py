"""PLUGIN: operators load, unload and inspect plugins."""

from __future__ import annotations

from typing import Final

from slircd.commands.extensions import Manager, ManagerError
from slircd.commands.registry import Context, command
from slircd.wire.numerics import StandardReply

ACTIONS: Final = ("LOAD", "UNLOAD", "RELOAD", "INFO")


@command("PLUGIN", params=1, privilege="plugin")
async def plugin(ctx: Context, action: str, name: str = "") -> None:
    """PLUGIN LIST | INFO <name> | LOAD <name> | UNLOAD <name> | RELOAD <name>

    Shows, loads, unloads or reloads plugins.
    """
    manager = ctx.server.extensions.manager
    verb = action.upper()
    if manager is None:
        raise StandardReply("FAIL", "NO_PLUGINS", text="This server has no plugins")
    if verb == "LIST":
        _tell(ctx, manager.list_lines())
    elif verb not in ACTIONS:
        raise StandardReply("FAIL", "UNKNOWN_ACTION", action, text="LIST, INFO, LOAD, UNLOAD or RELOAD")
    elif not name:
        raise StandardReply("FAIL", "NEED_MORE_PARAMS", verb, text=f"PLUGIN {verb} needs the name of a plugin")
    else:
        try:
            _tell(ctx, await _run(ctx, manager, verb, name))
        except ManagerError as error:
            raise StandardReply("FAIL", f"CANNOT_{verb}", name[:32], text=str(error)) from None


async def _run(ctx: Context, manager: Manager, verb: str, name: str) -> list[str]:
    if verb == "INFO":
        return manager.info_lines(name)
    act = {"LOAD": manager.load, "UNLOAD": manager.unload, "RELOAD": manager.reload}[verb]
    return await act(name, ctx.uid, ctx.nick)


def _tell(ctx: Context, lines: list[str]) -> None:
    for line in lines:
        ctx.notice(line)
