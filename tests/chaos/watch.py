"""What the daemon holds: memory, descriptors, threads, children, files; one figure every second of each of its lives."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from glob import glob
from statistics import median
from typing import NamedTuple

from tests.chaos.place import children, command_of, resident_bytes, state_of

MB = 1 << 20
WARM_UP = 0.25
"""Part of a life that is left out: caches fill, the crowd comes."""

LEAST_LIFE_S = 240
"""Lives that are shorter say nothing of growth; they only have a ceiling."""

GROWTH_MB = 8.0
CEILING_MB = 400.0
FDS = 250
THREADS = 40
ZOMBIE_S = 10


class Sample(NamedTuple):
    """The daemon at a moment."""

    at_s: float
    rss: int
    fds: int
    threads: int
    children: int


class Life:
    """One life of the daemon."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.began_s = time.monotonic()
        self.samples: list[Sample] = []
        self.descendants: dict[int, str] = {}
        """Every process that it was seen to have started, and its command line."""
        self._zombies: dict[int, float] = {}

    def look(self) -> list[str]:
        """Take a sample; what is wrong with it."""
        now, wrong = time.monotonic(), []
        try:
            fds = len(os.listdir(f"/proc/{self.pid}/fd"))
            threads = len(os.listdir(f"/proc/{self.pid}/task"))
        except OSError:
            return []
        own = children(self.pid)
        for pid in own:
            self.descendants.setdefault(pid, command_of(pid))
            if state_of(pid) == "Z":
                if now - self._zombies.setdefault(pid, now) > ZOMBIE_S:
                    wrong.append(f"process {pid} is a zombie for {ZOMBIE_S} s")
            else:
                self._zombies.pop(pid, None)
        sample = Sample(now, resident_bytes(self.pid), fds, threads, len(own))
        if sample.rss:
            self.samples.append(sample)
        for what, found, most in (
            ("MB resident", sample.rss / MB, CEILING_MB),
            ("descriptors", fds, FDS),
            ("threads", threads, THREADS),
        ):
            if found > most:
                wrong.append(f"{found:.0f} {what}, more than {most:.0f}")
        return wrong

    def left_behind(self) -> list[str]:
        """Processes that it has started and that live although it does not."""
        return [
            f"{pid}: {command[:100]}"
            for pid, command in self.descendants.items()
            if state_of(pid) not in ("", "Z") and command_of(pid) == command
        ]

    def summary(self) -> dict[str, float]:
        """Figures of it, and by how much its memory grew after the warm-up."""
        length = time.monotonic() - self.began_s
        warm = self.samples[int(len(self.samples) * WARM_UP) :]
        if len(warm) < 8:
            return {"seconds": round(length)}
        quarter = len(warm) // 4
        first = median(sample.rss for sample in warm[:quarter]) / MB
        last = median(sample.rss for sample in warm[-quarter:]) / MB
        return {
            "seconds": round(length),
            "rss_first_quarter_mb": round(first, 1),
            "rss_last_quarter_mb": round(last, 1),
            "growth_mb": round(last - first, 1),
            "growth_mb_per_hour": round((last - first) / (0.75 * 0.75 * length) * 3600, 1),
            "rss_most_mb": round(max(sample.rss for sample in self.samples) / MB, 1),
            "fds_median_first": median(sample.fds for sample in warm[:quarter]),
            "fds_median_last": median(sample.fds for sample in warm[-quarter:]),
            "fds_most": max(sample.fds for sample in self.samples),
            "threads_most": max(sample.threads for sample in self.samples),
            "children_most": max(sample.children for sample in self.samples),
        }

    def verdict(self) -> list[str]:
        """What its end shows that no single moment does."""
        found = self.summary()
        if found["seconds"] < LEAST_LIFE_S or "growth_mb" not in found:
            return []
        wrong = []
        if found["growth_mb"] > GROWTH_MB:
            wrong.append(f"memory grew by {found['growth_mb']} MB in {found['seconds']} s: {found}")
        if found["fds_median_last"] > found["fds_median_first"] + 20:
            wrong.append(f"descriptors grew: {found}")
        return wrong


def files_in(folder: str) -> list[str]:
    """What lies in a folder, at any depth."""
    with suppress(OSError):
        return sorted(path for path in glob(f"{folder}/**", recursive=True) if not os.path.isdir(path))
    return []
