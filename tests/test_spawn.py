"""Processes of our own are started as Twisted starts them, without a look at every descriptor."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, os, socket, sys
from twisted.internet import reactor
from twisted.internet.protocol import ProcessProtocol
from slircd.spawn import spawn

held = [socket.socket() for _ in range(50)]
CHILD = "import os, sys; sys.stderr.write('words'); print(sys.stdin.read(), os.environ['KEY'], len(os.listdir('/proc/self/fd')))"

class Talk(ProcessProtocol):
    out = err = b""
    def connectionMade(self):
        self.transport.write(b"hello")
        self.transport.closeStdin()
    def outReceived(self, data):
        self.out += data
    def errReceived(self, data):
        self.err += data
    def processEnded(self, reason):
        print(json.dumps([self.out.decode(), self.err.decode(), reason.value.exitCode]))
        reactor.stop()

def begin():
    # With this Twisted would find out that it cannot look at the descriptors.
    import twisted.internet.process as process
    process._listOpenFDs = None
    spawn(reactor, Talk(), sys.executable, [sys.executable, "-c", CHILD], {"KEY": "value"})

reactor.callWhenRunning(begin)
reactor.run()
"""


def test_talks_and_ends() -> None:
    """It reads, writes, has its environment, ends with a status, and inherits none of the server's connections."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    out, err, status = json.loads(done.stdout)
    words = out.split()
    assert words[:2] == ["hello", "value"]
    # Its three pipes, and the folder that it looks into.
    assert int(words[2]) <= 5
    assert (err, status) == ("words", 0)
