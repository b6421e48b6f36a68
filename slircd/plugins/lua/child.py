"""The child: one plugin, in a process of its own that has nothing but Lua and three pipes.

Started as `python -I -S child.py FOLDERS MEMORY CPU`.  Reads frames (JSON, one a line) from descriptor 0 and writes
them to descriptor 1.  The parent gives one job at a time; while a handler runs, its calls of the API go out as frames,
too, and the child waits for the reply to each.  Text is kept as bytes in Latin-1's clothes, so that what Lua says comes
out as it went in and nothing can fail at the border.

Lua gets two Python functions, both in closures of the prelude: they take and give text, numbers and tables made in Lua,
and never raise.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

ALIVE_S: Final = 0.05
"""Seconds after which, between two events of one job, the parent is told that it goes on."""

MAX_PRINTS: Final = 50
"""Lines that one call may print; what is beyond is counted and dropped."""

FRAME_BYTES: Final = 65_536

Exchange = Callable[[str, str], tuple[Any, ...]]


class Interpreter:
    """A Lua runtime with one plugin in it.

    `exchange` is given the name of a function and its arguments as JSON, and returns ("ok", value), ("refused", text)
    or ("error", text); `output` is given what the plugin prints.
    """

    def __init__(
        self,
        prelude: str,
        names: Sequence[str],
        exchange: Exchange,
        output: Callable[[str], None],
        *,
        memory_bytes: int,
        seconds: float,
    ) -> None:
        from lupa.lua54 import LuaRuntime

        self.seconds = seconds
        lua = LuaRuntime(
            encoding="latin-1",
            source_encoding="latin-1",
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            max_memory=memory_bytes,
        )
        self._lua = lua
        self._exchange = exchange
        self._output = output
        chunk = lua.eval("function(source) return load(source, '@prelude', 't') end")(prelude)
        self.entry: Any = chunk(self._call, self._print, lua.table_from(list(names)))

    def _call(self, name: Any, arguments: Any) -> tuple[Any, ...]:
        try:
            outcome, value = self._exchange(name, arguments)
            return outcome, self.to_lua(value)
        except Exception as error:
            return "error", f"{name}: {type(error).__name__}"

    def _print(self, text: Any) -> None:
        self._output(text)

    def to_lua(self, value: Any) -> Any:
        """A value of JSON for Lua: lists and dictionaries become tables."""
        if isinstance(value, dict | list):
            return self._lua.table_from(value, recursive=True)
        return value

    @property
    def memory_bytes(self) -> int:
        """What Lua uses now."""
        return int(self._lua.get_memory_used())

    def run(self, function: str, *arguments: Any) -> tuple[Any, ...]:
        """Call one of the prelude's entries; returns what went wrong or None, whether memory ran out, and the rest."""
        try:
            result = self.entry[function](self.seconds, *arguments)
        except MemoryError:
            return "not enough memory", True
        except Exception as error:
            short = "not enough memory" in str(error)
            return f"{type(error).__name__}: {str(error)[:200]}", short
        if not isinstance(result, tuple):
            result = (result,)
        return (*result, None, None, None, None)[:4]


class Child:
    """The main loop."""

    def __init__(self, *, memory_bytes: int, cpu_s: float) -> None:
        self._buffer = b""
        self._frames: list[bytes] = []
        self._cpu_s = cpu_s
        self._memory_bytes = memory_bytes
        self._calls = 0
        self._prints = 0
        self._lua: Interpreter | None = None

    # --- frames ---------------------------------------------------------------------------------------------------

    def _read(self) -> Mapping[str, Any]:
        while not self._frames:
            data = os.read(0, 1 << 20)
            if not data:
                os._exit(0)
            *self._frames, self._buffer = (self._buffer + data).split(b"\n")
            self._frames.reverse()
        frame: Mapping[str, Any] = json.loads(self._frames.pop().decode("latin-1"))
        return frame

    def write(self, frame: Mapping[str, Any]) -> None:
        """Send a frame."""
        self._write_text(json.dumps(frame, ensure_ascii=False, separators=(",", ":")))

    def _write_text(self, text: str) -> None:
        data = text.encode("latin-1", "replace") + b"\n"
        while data:
            data = data[os.write(1, data) :]

    # --- what Lua calls -------------------------------------------------------------------------------------------

    def _exchange(self, name: str, arguments: str) -> tuple[Any, ...]:
        try:
            arguments.encode("latin-1").decode()
        except UnicodeDecodeError:
            return "error", f"{name}: the text is not UTF-8"
        self._calls += 1
        self._write_text(f'{{"op":"api","id":{self._calls},"name":{json.dumps(name)},"args":{arguments}}}')
        reply = self._read()
        if reply.get("op") != "reply" or reply.get("id") != self._calls:
            os._exit(3)
        return reply["outcome"], reply.get("value")

    def _output(self, text: str) -> None:
        self._prints += 1
        if self._prints <= MAX_PRINTS:
            self.write({"op": "print", "text": _clean(text)})

    # --- jobs -----------------------------------------------------------------------------------------------------

    def main(self, confine: Callable[[int], list[str]]) -> NoReturn:
        """Start, say so, and do what comes, for ever."""
        self.begin(self._read())
        # Used once before the doors close, so that nothing has to be imported or opened later.
        json.dumps(json.loads('{"a":[1,2.5,"\\u00e9"]}'))
        _clean("\u00ff")
        self.write({"op": "ready", "holds": confine(self._memory_bytes)})
        while True:
            self.handle(self._read())

    def begin(self, first: Mapping[str, Any]) -> None:
        """Make the interpreter."""
        self._lua = Interpreter(
            first["prelude"],
            first["names"],
            self._exchange,
            self._output,
            memory_bytes=self._memory_bytes,
            seconds=first["seconds"],
        )

    def handle(self, job: Mapping[str, Any]) -> None:
        """Do a job, and say so."""
        lua = self._lua
        if lua is None:
            os._exit(3)
        self._prints = 0
        self._limit_cpu(job.get("cpu", self._cpu_s))
        done = self._do(lua, job)
        self._limit_cpu(0)
        if self._prints > MAX_PRINTS:
            done["dropped"] = self._prints - MAX_PRINTS
        self.write({"op": "done", "id": job["id"], "memory": lua.memory_bytes, **done})

    def _limit_cpu(self, seconds: float) -> None:
        """The kernel ends this process after so many seconds of work (0: no limit), whether the server lives or not."""
        signal.setitimer(signal.ITIMER_PROF, seconds)

    def _do(self, lua: Interpreter, job: Mapping[str, Any]) -> dict[str, Any]:
        kind = job["op"]
        if kind == "events":
            return self._events(lua, job)
        if kind == "call":
            result = lua.run(
                "call", job["handler"], job.get("call"), lua.to_lua(job.get("subject")), lua.to_lua(job.get("argument"))
            )
        elif kind == "load":
            result = lua.run("load", job["source"], job["chunk"])
            if result[0] is None:
                return {"name": _clean(result[2]), "version": _clean(result[3])}
        elif kind == "on_load":
            result = lua.run("on_load", lua.to_lua(job["settings"]))
        else:
            result = lua.run("on_unload")
        return _outcome(result)

    def _events(self, lua: Interpreter, job: Mapping[str, Any]) -> dict[str, Any]:
        worst: dict[str, Any] = {}
        said = time.monotonic()
        for event in job["events"]:
            result = lua.run("event", event["type"], lua.to_lua(event))
            if result[0] is not None or result[1]:
                worst = {**_outcome(result), **worst, "errors": worst.get("errors", 0) + 1}
            now = time.monotonic()
            if now - said > ALIVE_S:
                said = now
                self._limit_cpu(self._cpu_s)
                self.write({"op": "alive", "id": job["id"]})
        return worst


def _outcome(result: tuple[Any, ...]) -> dict[str, Any]:
    outcome: dict[str, Any] = {}
    if result[0] is not None:
        outcome["error"] = _clean(str(result[0]))
    if result[1]:
        outcome["short"] = True
    return outcome


def _clean(text: str | None) -> str | None:
    """Text from Lua as UTF-8, still in Latin-1's clothes; what is no UTF-8 is replaced."""
    if text is None or text.isascii():
        return text
    return text.encode("latin-1", "replace").decode("utf-8", "replace").encode().decode("latin-1")


if __name__ == "__main__":
    sys.path.extend(sys.argv[1].split(os.pathsep))
    from slircd.plugins.lua.confine import confine

    Child(memory_bytes=int(sys.argv[2]), cpu_s=float(sys.argv[3])).main(confine)
