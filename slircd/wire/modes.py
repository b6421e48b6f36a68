"""Mode strings to structured changes and back, and the table of the modes that there are.

ISUPPORT, the reply to an unknown letter, HELP and the code that enforces a mode all read this table, so what is
advertised and what is known cannot differ.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple

import msgspec


class Kind(enum.Enum):
    """What a channel mode takes (modern.ircdocs.horse, CHANMODES)."""

    PREFIX = "a member, who gets a prefix"
    LIST = "a mask; without one it asks for the list"
    KEY = "a parameter when set and when unset"
    SETTING = "a parameter when set"
    FLAG = "nothing"


class Change(msgspec.Struct, frozen=True, gc=False):
    """One change: `sign` is + or -."""

    sign: str
    mode: str
    param: str | None = None


class Parsed(NamedTuple):
    """What a mode string asks for."""

    changes: list[Change]
    queries: list[str]
    """List modes without a mask."""
    unknown: list[str]
    missing: list[str]
    """Modes whose parameter is missing."""


class ModeTable:
    """The modes of channels, or of users: letter to kind and description."""

    def __init__(self, prefixes: Mapping[str, str], modes: Mapping[Kind, Mapping[str, str]]) -> None:
        """`prefixes` maps prefix modes to their symbols, highest first."""
        self.prefixes = dict(prefixes)
        self.kinds = {letter: kind for kind, letters in modes.items() for letter in letters}
        self.descriptions = {letter: text for letters in modes.values() for letter, text in letters.items()}
        self._rank = {letter: rank for rank, letter in enumerate(self.prefixes)}

    @cached_property
    def letters(self) -> str:
        """All letters, sorted."""
        return "".join(sorted(self.kinds, key=lambda letter: (letter.lower(), letter)))

    def of_kind(self, *kinds: Kind) -> str:
        """The letters of some kinds, sorted."""
        return "".join(letter for letter in self.letters if self.kinds[letter] in kinds)

    @property
    def chanmodes(self) -> str:
        """The value of ISUPPORT CHANMODES."""
        return ",".join(self.of_kind(kind) for kind in (Kind.LIST, Kind.KEY, Kind.SETTING, Kind.FLAG))

    @property
    def prefix(self) -> str:
        """The value of ISUPPORT PREFIX."""
        return f"({''.join(self.prefixes)}){''.join(self.prefixes.values())}"

    def rank(self, mode: str) -> int:
        """The place of a prefix mode; 0 is the highest."""
        return self._rank[mode]

    def sort_prefixes(self, modes: str) -> str:
        """Prefix modes, highest first."""
        return modes if len(modes) < 2 else "".join(sorted(modes, key=self._rank.__getitem__))

    def symbols(self, modes: str, multi: bool) -> str:
        """The symbols of sorted prefix modes: all (multi-prefix), or the highest."""
        shown = modes if multi else modes[:1]
        return "".join(self.prefixes[mode] for mode in shown)

    def at_least(self, mode: str) -> str:
        """The prefix modes that are worth `mode` or more."""
        letters = "".join(self.prefixes)
        return letters[: letters.index(mode) + 1]


CHANNEL_MODES: Final = ModeTable(
    {"q": "~", "a": "&", "o": "@", "h": "%", "v": "+"},
    {
        Kind.PREFIX: {
            "q": "owner",
            "a": "admin",
            "o": "operator",
            "h": "half-operator",
            "v": "voice: may speak where the channel is moderated",
        },
        Kind.LIST: {
            "b": "ban: may neither join nor speak",
            "e": "exception from bans",
            "I": "may join an invite-only channel",
        },
        Kind.KEY: {"k": "key that is needed to join"},
        Kind.SETTING: {
            "f": "at most N messages of one member in S seconds (N:S)",
            "j": "at most N joins in S seconds (N:S)",
            "L": "link: who may not join (+i, +l, +R, +z) joins this channel instead",
            "l": "most members",
        },
        Kind.FLAG: {
            "c": "no colours: messages with formatting codes are refused",
            "C": "no CTCP, except ACTION",
            "E": "role-play: NPC, NPCA and SCENE speak for characters",
            "g": "every member may invite",
            "i": "invite only",
            "K": "no KNOCK",
            "m": "moderated: only members with a prefix may speak",
            "M": "only members with an account, or a prefix, may speak",
            "N": "no nick changes",
            "n": "no messages from outside",
            "O": "only IRC operators may join",
            "P": "permanent: stays when it is empty; IRC operators set it",
            "p": "private: not listed to others",
            "Q": "no kicks, except by IRC operators",
            "R": "only users with an account may join",
            "s": "secret: hidden from others",
            "S": "formatting codes are stripped from messages",
            "T": "no NOTICE",
            "t": "only half-operators and above set the topic",
            "U": "op-moderated: what users without a prefix say only half-operators and above hear; it is not kept",
            "u": "auditorium: members without a prefix see only staff",
            "V": "no INVITE",
            "z": "only users on TLS may join",
        },
    },
)

USER_MODES: Final = ModeTable(
    {},
    {
        Kind.FLAG: {
            "B": "is a bot",
            "D": "deaf: hears no channel messages",
            "g": "takes private messages from those only whom it has accepted (ACCEPT)",
            "H": "hides that it is an IRC operator",
            "i": "invisible to those who share no channel",
            "o": "IRC operator (set by OPER)",
            "R": "takes private messages from users with an account, and from those whom it has accepted (ACCEPT), only",
            "r": "is logged in to the account of its nick (set by services)",
            "T": "takes no CTCP",
            "w": "hears WALLOPS",
            "x": "shows a cloaked host",
            "Z": "is connected over TLS (set by the server)",
        },
        Kind.SETTING: {"s": "hears server notices (IRC operators; letters as in HELP SNOMASKS)"},
    },
)


MAX_WRONG: Final = 10
"""Letters of one mode string that are answered as unknown, or as without their parameter."""


def parse_changes(words: Sequence[str], table: ModeTable) -> Parsed:
    """What `words` (a mode string and its parameters) ask for; nothing is an exception here.

    A sign is + until one is given.  `-k` without its parameter is understood.
    """
    parsed = Parsed([], [], [], [])
    if not words:
        return parsed
    params = iter(words[1:])
    sign = "+"
    for letter in words[0]:
        if letter in "+-":
            sign = letter
            continue
        kind = table.kinds.get(letter)
        if kind is None:
            _note(parsed.unknown, letter)
        elif kind is Kind.FLAG or (kind is Kind.SETTING and sign == "-"):
            parsed.changes.append(Change(sign, letter))
        else:
            _take_param(parsed, kind, sign, letter, next(params, None))
    return parsed


def _take_param(parsed: Parsed, kind: Kind, sign: str, letter: str, param: str | None) -> None:
    if param:
        parsed.changes.append(Change(sign, letter, param))
    elif kind is Kind.LIST:
        if letter not in parsed.queries:
            parsed.queries.append(letter)
    elif kind is Kind.KEY and sign == "-":
        parsed.changes.append(Change(sign, letter, "*"))
    else:
        _note(parsed.missing, letter)


def _note(letters: list[str], letter: str) -> None:
    """Each is answered once, and no line of nonsense is answered with hundreds."""
    if letter not in letters and len(letters) < MAX_WRONG:
        letters.append(letter)


def format_changes(changes: Iterable[Change], max_modes: int, max_bytes: int) -> Iterator[tuple[str, ...]]:
    """Mode strings with their parameters, `("+ov-l", "ann", "bob")`.

    Each has at most `max_modes` changes and about `max_bytes` bytes.
    """
    letters, sign, count, size = "", "", 0, 0
    params: list[str] = []
    for change in changes:
        length = 2 + (len(change.param.encode()) + 1 if change.param is not None else 0)
        if count and (count == max_modes or size + length > max_bytes):
            yield (letters, *params)
            letters, sign, count, size, params = "", "", 0, 0, []
        if change.sign != sign:
            sign = change.sign
            letters += sign
        letters += change.mode
        count += 1
        size += length
        if change.param is not None:
            params.append(change.param)
    if letters:
        yield (letters, *params)
