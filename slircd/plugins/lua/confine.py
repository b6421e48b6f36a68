"""What the child gives up before it runs anything of a plugin.

Three layers, each of which holds where the system has it.  Limits (every POSIX system): no new descriptors, no
processes, no files, bounded memory.  No new privileges, not to be traced, and an end when the server ends (Linux).  A
filter of system calls (Linux on x86-64 and AArch64): the child may read its pipe, write its pipes, manage memory, tell
the time and exit; opening files is refused, anything else kills it at once.

The filter is classic BPF, assembled here, because it is forty instructions and a library for it would be loaded into
the very process that is to have little in it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_SECCOMP: Final = 22
PR_SET_NO_NEW_PRIVS: Final = 38
SECCOMP_MODE_FILTER: Final = 2

RET_KILL_PROCESS: Final = 0x80000000
RET_EPERM: Final = 0x00050000 | 1
RET_ALLOW: Final = 0x7FFF0000

LOAD_WORD: Final = 0x20
JUMP_EQUAL: Final = 0x15
JUMP_AT_LEAST: Final = 0x35
JUMP_ANY_BIT: Final = 0x45
RETURN: Final = 0x06

NUMBER_AT: Final = 0
ARCHITECTURE_AT: Final = 4
ARGUMENTS_AT: Final = 16
PROT_EXEC: Final = 4

READ: Final = {"x86_64": 0, "aarch64": 63}
WRITE: Final = {"x86_64": 1, "aarch64": 64}
MAPPING: Final = {"x86_64": (9, 10), "aarch64": (222, 226)}
"""mmap and mprotect, whose third argument says what the memory is for."""

ALLOWED: Final = {
    # futex clock_gettime brk munmap mremap madvise setitimer rt_sigreturn rt_sigprocmask sched_yield getpid gettid
    # gettimeofday time getrandom clock_nanosleep restart_syscall sigaltstack exit exit_group getrusage
    "x86_64": (202, 228, 12, 11, 25, 28, 38, 15, 14, 24, 39, 186, 96, 201, 318, 230, 219, 131, 60, 231, 98),
    "aarch64": (98, 113, 214, 215, 216, 233, 103, 139, 135, 124, 172, 178, 169, 278, 115, 128, 132, 93, 94, 165),
}
REFUSED: Final = {
    # open openat stat fstat lstat newfstatat statx access faccessat readlink readlinkat getcwd ioctl close
    # lseek rt_sigaction: what Python may try by itself, for an error message say; it gets an error and goes on.
    "x86_64": (2, 257, 4, 5, 6, 262, 332, 21, 269, 89, 267, 79, 16, 3, 8, 13),
    "aarch64": (56, 79, 80, 291, 48, 78, 17, 29, 57, 62, 134),
}
AUDIT_ARCHITECTURE: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT: Final = 0x40000000

Instruction = tuple[int, int, int, int]


def confine(memory_bytes: int) -> list[str]:
    """Give up what can be given up; `memory_bytes` is what Lua may use.  Returns the names of what holds."""
    os.chdir("/")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    holds = ["rlimits"]
    linux = sys.platform == "linux"
    libc = ctypes.CDLL(None, use_errno=True) if linux else None
    program = seccomp_program(platform.machine()) if linux else None
    _limit(memory_bytes)
    if libc is None:
        return holds
    # When the server dies, however it dies, so does the child, even in the middle of an endless loop.
    libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        holds.append("no-new-privileges")
    if program is not None:
        code = ctypes.create_string_buffer(program, len(program))
        filter_ = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
        if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_, 0, 0) == 0:
            holds.append("seccomp")
    return holds


def _limit(memory_bytes: int) -> None:
    """Set the limits; after the imports, which need more."""
    pages = _address_space_pages()
    # Lua counts its own memory; this is for what it does not count, such as a copy of a large text in Python.
    total = pages * resource.getpagesize() + 2 * memory_bytes + (64 << 20)
    for kind, most in (
        (resource.RLIMIT_AS, total),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 3),
    ):
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(kind, (least, least))
        except (ValueError, OSError):
            continue


def _address_space_pages() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0])
    except OSError:
        return (256 << 20) // resource.getpagesize()


def seccomp_program(machine: str) -> bytes | None:
    """The filter for this machine; None for one that is not in the tables."""
    if machine not in ALLOWED:
        return None
    code: list[Instruction] = [
        (LOAD_WORD, 0, 0, ARCHITECTURE_AT),
        (JUMP_EQUAL, 1, 0, AUDIT_ARCHITECTURE[machine]),
        (RETURN, 0, 0, RET_KILL_PROCESS),
        (LOAD_WORD, 0, 0, NUMBER_AT),
        # The x32 calls of x86-64 are other numbers for the same acts.
        (JUMP_AT_LEAST, 0, 1, X32_BIT),
        (RETURN, 0, 0, RET_KILL_PROCESS),
        *_with_descriptor(READ[machine], (0,)),
        *_with_descriptor(WRITE[machine], (1, 2)),
    ]
    for number in ALLOWED[machine]:
        code += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, RET_ALLOW)]
    for number in MAPPING[machine]:
        code += [
            (JUMP_EQUAL, 0, 4, number),
            (LOAD_WORD, 0, 0, ARGUMENTS_AT + 2 * 8),
            (JUMP_ANY_BIT, 0, 1, PROT_EXEC),
            (RETURN, 0, 0, RET_EPERM),
            (RETURN, 0, 0, RET_ALLOW),
        ]
    for number in REFUSED[machine]:
        code += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, RET_EPERM)]
    code.append((RETURN, 0, 0, RET_KILL_PROCESS))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


def _with_descriptor(number: int, descriptors: tuple[int, ...]) -> list[Instruction]:
    """Allow a call on these descriptors (its first argument); others of it are refused."""
    code: list[Instruction] = [(LOAD_WORD, 0, 0, ARGUMENTS_AT)]
    for descriptor in descriptors:
        code += [(JUMP_EQUAL, 0, 1, descriptor), (RETURN, 0, 0, RET_ALLOW)]
    code.append((RETURN, 0, 0, RET_EPERM))
    return [(JUMP_EQUAL, 0, len(code), number), *code]
