"""Values that a field, a parameter or an argument of a call might have, sensible or not."""

from __future__ import annotations

from typing import Any

from tests.fuzz.choices import Choices

TEXTS = [
    "", "ann", "bob", "root", "spy", "#c", "#C", "#new", "#", "#c\r\nQUIT", "a\0b", "a\rb", "a\nb", " ", "a b", ":x", "*",
    "*!*@*", "~m:bob", "~t:5:bob", "+o", "+nt-s", "+b", "+k key", "192.0.2.1", "192.0.2.0/24", "::1", "host.example.org",
    "x" * 600, "é" * 300, "\N{FULLWIDTH NUMBER SIGN}x", "\U0010ffe9", "NickServ", "server", "0", "-1", "1",
    "99999999999999999999", "1e9", "2025-01-01", "2025-01-01T12:00:00.000000Z", "-15m", "channel.*", "*.*", "user.connect",
    "message.privmsg", "true", "null", "http://127.0.0.1/", "https://example.org/", "//", "../..", "%00", "%",
]  # fmt: skip
NUMBERS = [0, 1, -1, 2, 60, 255, 65_536, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), 10**30]
FLOATS = [0.0, -0.0, 0.1, 1e9, -1e9, 1e300, 5e-324]


def text(choices: Choices) -> str:
    """A text that might be a name, a mask, a mode or nonsense."""
    return choices.pick(TEXTS) if choices.number(4) else choices.text(40)


def value(choices: Choices, depth: int = 2) -> Any:
    """Anything that JSON can say."""
    kind = choices.number(12)
    if kind < 5:
        return text(choices)
    if kind == 5:
        return choices.pick(NUMBERS)
    if kind == 6:
        return choices.pick(FLOATS)
    if kind == 7:
        return None
    if kind == 8:
        return bool(choices.number(2))
    if kind == 9 or depth == 0:
        return {"$handler": choices.number(4)}
    if kind == 10:
        return [value(choices, depth - 1) for _ in range(choices.number(4))]
    return {text(choices): value(choices, depth - 1) for _ in range(choices.number(4))}
