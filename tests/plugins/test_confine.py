"""What the child gives up, tried with Python's own means in a confined process: the attack that has escaped from Lua."""

from __future__ import annotations

import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slircd.plugins.lua.confine import ALLOWED, READ, REFUSED, WRITE, seccomp_program

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
FILTERED = sys.platform == "linux" and platform.machine() in ALLOWED

PRELUDE = """
import ctypes, mmap, os, signal, socket, subprocess, sys, threading
sys.path.append(sys.argv[1])
from slircd.plugins.lua.confine import confine
libc = ctypes.CDLL(None, use_errno=True)
holds = confine(16 << 20)
def tried(act):
    try:
        act()
    except OSError as error:
        os.write(1, b"refused")
    else:
        os.write(1, b"done")
    os._exit(0)
"""

REFUSED_ACTS = {
    "open": "open('/etc/passwd')",
    "create": "open('/tmp/slircd-was-here', 'w')",
    "stat": "os.stat('/etc/passwd')",
    "listdir": "os.listdir('/')",
    "write_elsewhere": "os.write(7, b'x')",
    "read_elsewhere": "os.read(2, 1)",
}

FATAL_ACTS = {
    "socket": "socket.socket()",
    "fork": "os.fork()",
    "exec": "os.execv('/bin/true', ['true'])",
    "spawn": "os.posix_spawn('/bin/true', ['true'], {})",
    "thread": "threading.Thread(target=print).start()",
    "kill": "os.kill(os.getppid(), signal.SIGTERM)",
    "ptrace": "libc.ptrace(16, os.getppid(), 0, 0)",
    "dup": "os.dup(0)",
    "pipe": "os.pipe()",
    "chdir": "os.chdir('/tmp')",
    "unlink": "os.unlink('/tmp/x')",
    "setuid": "os.setuid(0)",
    "prctl": "libc.prctl(4, 1, 0, 0, 0)",
    "mount": "libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)",
    "io_uring": "libc.syscall(425, 1, ctypes.create_string_buffer(200))",
    "bpf": "libc.syscall(321, 0, 0, 0)",
    "limits": "__import__('resource').setrlimit(7, (100, 100))",
}


def attempt(act: str) -> subprocess.CompletedProcess[bytes]:
    code = f"{PRELUDE}\ntried(lambda: {act})"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(ROOT)], capture_output=True, timeout=60, check=False, env={}
    )


@pytest.mark.skipif(not FILTERED, reason="there is no filter of system calls for this system")
@pytest.mark.parametrize("act", REFUSED_ACTS.values(), ids=REFUSED_ACTS.keys())
def test_refused(act: str) -> None:
    """What Python may try by itself is an error."""
    assert attempt(act).stdout == b"refused"


@pytest.mark.skipif(not FILTERED, reason="there is no filter of system calls for this system")
@pytest.mark.parametrize("act", FATAL_ACTS.values(), ids=FATAL_ACTS.keys())
def test_fatal(act: str) -> None:
    """Everything else is the end of the process."""
    done = attempt(act)
    assert done.stdout == b""
    assert done.returncode == -signal.SIGSYS, done.stderr


@pytest.mark.skipif(not FILTERED, reason="there is no filter of system calls for this system")
def test_no_code_in_memory() -> None:
    """Memory that could hold machine code is refused."""
    done = attempt("mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)")
    assert done.stdout == b"refused"


def test_it_still_works() -> None:
    """Memory, time and its own pipes are left."""
    done = attempt("(bytearray(1 << 20), os.write(2, b'x'), __import__('time').monotonic(), os.getpid())")
    assert done.stdout == b"done", done.stderr


def test_memory_is_limited() -> None:
    """Far more than the limit is refused by the system."""
    code = f"{PRELUDE}\ntry:\n    bytearray(1 << 30)\nexcept MemoryError:\n    os.write(1, b'refused')\nos._exit(0)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(ROOT)], capture_output=True, timeout=60, check=False, env={}
    )
    assert done.stdout == b"refused", done.stderr


@pytest.mark.parametrize("machine", sorted(ALLOWED))
def test_programs(machine: str) -> None:
    """Whole instructions, jumps that stay inside, no call in two lists; other machines have no filter."""
    import struct

    program = seccomp_program(machine)
    assert program is not None
    count = len(program) // 8
    assert len(program) == 8 * count
    for index, (code, true, false, _) in enumerate(struct.iter_unpack("HBBI", program)):
        if code & 0x07 == 0x05:
            assert index + 1 + max(true, false) < count
    numbers = [*ALLOWED[machine], *REFUSED[machine], READ[machine], WRITE[machine]]
    assert len(numbers) == len(set(numbers))
    assert seccomp_program("riscv64") is None
