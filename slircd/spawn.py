"""Processes of our own, started without holding everybody else up.

Before it starts a process Twisted looks at every descriptor that is open, to have the new process close those that it
would inherit: with ten thousand connections that is a turn of 50 to 90 ms.  Python opens nothing that is inherited, so
for processes that run our own code there is nothing to look for.  Plugins, which are not to be trusted, are started by
Twisted's own way.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.process import Process
from twisted.internet.protocol import ProcessProtocol


class _Process(Process):
    """A process that inherits the descriptors of its pipes and what was made to be inherited."""

    # The place where Twisted decides how to start it.  A Twisted without it starts it in its own way.
    def _trySpawnInsteadOfFork(  # noqa: N802  # Twisted's name
        self, path: Any, uid: Any, gid: Any, executable: Any, args: Any, environment: Any, kwargs: Any
    ) -> bool:
        pipes: dict[int, int] = kwargs["fdmap"]
        if set(pipes) & set(pipes.values()):
            inherited: Any = super()._trySpawnInsteadOfFork
            return bool(inherited(path, uid, gid, executable, args, environment, kwargs))
        ignored = [each for each in signal.valid_signals() if signal.getsignal(each) is signal.SIG_IGN]
        actions = [(os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in pipes.items()]
        self.pid = os.posix_spawnp(executable, args, environment, file_actions=actions, setsigdef=ignored)
        self.status = -1
        return True


def spawn(
    reactor: Any, protocol: ProcessProtocol, executable: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> None:
    """Start a process that `protocol` talks to through standard input, output and error."""
    if isinstance(reactor, PosixReactorBase):
        process: Any = _Process
        process(reactor, executable, arguments, environment, None, protocol)
    else:
        reactor.spawnProcess(protocol, executable, arguments, env=environment)
