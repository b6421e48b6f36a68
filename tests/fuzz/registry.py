"""The table of targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

Run = Callable[[bytes], None]


class Target(NamedTuple):
    """A function of bytes, and where to begin."""

    name: str
    run: Run
    max_bytes: int
    seeds: Sequence[bytes]
    """Inputs from which others are made, beside the corpus."""
    most_kept: int
    """Inputs that are kept in the repository at most."""

    @property
    def about(self) -> str:
        """The property that is checked."""
        return self.run.__doc__ or ""


TARGETS: Final[dict[str, Target]] = {}


def target(*, max_bytes: int, seeds: Sequence[bytes] = (), most_kept: int = 40) -> Callable[[Run], Run]:
    """Add the decorated `fuzz_NAME(data)` to the table; longer inputs than `max_bytes` are not tried."""

    def register(run: Run) -> Run:
        name = run.__name__.removeprefix("fuzz_")
        TARGETS[name] = Target(name, run, max_bytes, seeds, most_kept)
        return run

    return register
