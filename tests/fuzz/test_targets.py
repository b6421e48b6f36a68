"""Every target, with the kept corpus, with its seeds, and with what Hypothesis makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.corpus import FOLDER, kept, reaches, shrink, smallest_set
from tests.fuzz.registry import Target
from tests.fuzz.targets import TARGETS

QUICK = frozenset(
    {"message", "tags", "encoding", "modes", "names", "filters", "moment", "payload", "body", "forwarded"}
)
"""Targets that take well under a millisecond."""

CHANGES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 65_535), st.binary(min_size=1, max_size=12)), max_size=6)


def changed(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """A seed with bytes replaced, inserted, repeated or removed."""
    for kind, place, new in changes:
        at = place % (len(data) + 1)
        if kind == 0:
            data = data[:at] + new + data[at + len(new) :]
        elif kind == 1:
            data = data[:at] + new + data[at:]
        elif kind == 2:
            data = data[:at] + data[at : at + 2 * len(new)] + data[at:]
        else:
            data = data[:at] + data[at + len(new) :]
    return data


def beginnings(target: Target) -> list[bytes]:
    return [*target.seeds, *(data for _, data in kept(target))]


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_kept_inputs(name: str) -> None:
    """What once showed something still shows nothing wrong."""
    target = TARGETS[name]
    for data in beginnings(target):
        target.run(data)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_others(name: str) -> None:
    """Neither does what can be made of it, nor what comes from nowhere."""
    target = TARGETS[name]
    seeds = st.builds(changed, st.sampled_from(beginnings(target)), CHANGES)
    anything = seeds | st.binary(max_size=min(target.max_bytes, 200))

    @given(anything)
    @settings(
        max_examples=150 if name in QUICK else 25,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    def holds(data: bytes) -> None:
        target.run(data[: target.max_bytes])

    holds()


def test_corpora_are_small_and_of_targets_that_there_are() -> None:
    """Nobody has to carry more than is needed."""
    assert {path.name for path in FOLDER.glob("*")} <= set(TARGETS)
    assert sum(path.stat().st_size for path in FOLDER.glob("*/*")) < 300_000
    for target in TARGETS.values():
        assert all(len(data) <= target.max_bytes for _, data in kept(target)), target.name
        assert target.about, target.name


def test_small_sets_and_small_failures(tmp_path: Path) -> None:
    """A set is no larger than it has to be, and a failing input is cut to what makes it fail."""
    run = TARGETS["moment"].run
    chosen, arcs = smallest_set(run, [b"2025-01-01", b"2025-01-02", b"-15m", b"x"], 10)
    assert sorted(chosen) == [b"-15m", b"2025-01-01", b"x"] and arcs > len(reaches(run, b"-15m"))

    def picky(data: bytes) -> None:
        assert b"AB" not in data

    assert shrink(picky, b"xxxxxAxxABxxxxBA") == b"AB"
