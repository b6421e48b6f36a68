"""Kept inputs: where they are, and how a set of them, or one that fails, is made small.

What a set reaches is counted as arcs, from a line of slircd to the next; an input is kept where it reaches an arc that
no smaller one does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any, Final

from tests.fuzz.registry import Run, Target

FOLDER: Final = Path(__file__).parent / "corpus"
PACKAGE: Final = str(Path(__file__).parents[2] / "slircd")
Arcs = frozenset[tuple[int, int, int]]


def kept(target: Target) -> Iterator[tuple[str, bytes]]:
    """The inputs of a target that are kept in the repository, by file."""
    for path in sorted((FOLDER / target.name).glob("*")):
        yield path.name, path.read_bytes()


def inputs(folder: Path) -> list[bytes]:
    """All inputs in a folder, small ones first."""
    found = {path.read_bytes() for path in folder.glob("*") if path.is_file()}
    return sorted(found, key=lambda data: (len(data), data))


def save(folder: Path, data: bytes, kind: str = "") -> Path:
    """Keep an input, under a name made from it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (kind + sha256(data).hexdigest()[:12])
    path.write_bytes(data)
    return path


def reaches(run: Run, data: bytes) -> Arcs:
    """The arcs of slircd's code that an input reaches; whether it fails does not matter."""
    arcs: set[tuple[int, int, int]] = set()

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        before, code = 0, id(frame.f_code)

        def line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal before
            if event == "line":
                arcs.add((code, before, frame.f_lineno))
                before = frame.f_lineno
            return line

        return line

    tracing = sys.gettrace()
    sys.settrace(enter)
    try:
        run(data)
    except Exception:  # it is the business of whoever runs it for that
        pass
    finally:
        sys.settrace(tracing)
    return frozenset(arcs)


def smallest_set(run: Run, candidates: Iterable[bytes], most: int) -> tuple[list[bytes], int]:
    """At most `most` inputs that together reach what all of them do, or most of it; and how many arcs those are."""
    found = [(data, reaches(run, data)) for data in candidates]
    everything: set[tuple[int, int, int]] = set().union(*(arcs for _, arcs in found))
    missing, chosen = set(everything), []
    while missing and len(chosen) < most:
        data, arcs = max(found, key=lambda each: (len(each[1] & missing), -len(each[0])))
        if not arcs & missing:
            break
        chosen.append(data)
        missing -= arcs
    return chosen, len(everything)


def failure_of(run: Run, data: bytes) -> str:
    """What an input fails with, so that two failures can be told apart; empty if it does not."""
    try:
        run(data)
    except Exception as error:
        trace, places = error.__traceback__, []
        while trace is not None:
            places.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
            trace = trace.tb_next
        ours = [place for place in places if "/slircd/" in place[0] or "/tests/" in place[0]]
        path, line = ours[-1] if ours else ("", 0)
        told = str(error)
        logged = told.splitlines()[1:2] if told.startswith("the server logged") else []
        return f"{type(error).__name__} at {Path(path).name}:{line}{''.join(f' ({each})' for each in logged)}"
    return ""


def shrink(run: Run, data: bytes, tries: int = 2000) -> bytes:
    """A smaller input that fails in the same way."""
    wanted = failure_of(run, data)
    size = max(1, len(data) // 2)
    while size and tries > 0:
        start, done = 0, False
        while start < len(data) and tries > 0:
            shorter = data[:start] + data[start + size :]
            tries -= 1
            if failure_of(run, shorter) == wanted:
                data, done = shorter, True
            else:
                start += size
        if not done or size > len(data):
            size //= 2
    return data
