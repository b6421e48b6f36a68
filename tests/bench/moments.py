"""How long any moment of a log takes: `python -m tests.bench.moments LOG [--moments N] [--every N]`.

Prints JSON.  LOG is a log in SQLite or PostgreSQL that has no checkpoints yet, or has them (tests.bench.generate writes
one); those that are missing are made first, in one replay, as many as the daemon would have made.  Then the documents
of random moments, all over the log, are made one after the other, each with a reader of its own as a command has.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from random import Random
from typing import Any

from slircd.events import checkpoints
from slircd.events.clock import format_timestamp, parse_timestamp
from slircd.events.migrate import ensure_schema
from slircd.events.reader import LogReader
from slircd.replay.reconstructor import Replayed, StateReconstructor, replay
from slircd.replay.worker import writing_engine


def make_checkpoints(location: str, every: int) -> dict[str, Any]:
    """What the daemon would have written by now."""
    engine = writing_engine(location)
    with engine.begin() as connection:
        ensure_schema(connection, upgrade=True)
    began = time.perf_counter()
    made, size, pack_s = 0, 0, 0.0
    with LogReader(location) as reader:
        last = reader.head().id
        known = reader.checkpoints()
        if known and last - known[-1].event_id < every:
            return {"found": len(known), "bytes_mean": sum(each.size for each in known) // len(known)}
        into = Replayed()
        for event_id in range(every, last + 1, every):
            replay(reader.raw_rows(after_id=event_id - every, before_id=event_id + 1), into)
            packing = time.perf_counter()
            packed = checkpoints.pack(into.state, event_id)
            pack_s += time.perf_counter() - packing
            with engine.begin() as connection:
                checkpoints.write(connection, packed)
            made, size = made + 1, size + len(packed.state)
    engine.dispose()
    return {
        "made": made,
        "bytes_mean": size // max(made, 1),
        "pack_ms_mean": round(1000 * pack_s / max(made, 1), 1),
        "seconds": round(time.perf_counter() - began, 1),
    }


def measure(location: str, count: int, seed: int) -> dict[str, Any]:
    """The times of random moments."""
    rng = Random(seed)
    with LogReader(location) as reader:
        first, last = parse_timestamp(reader.first().timestamp), parse_timestamp(reader.head().timestamp)
        events = reader.head().id
    wall_ms: list[float] = []
    cpu_ms: list[float] = []
    sizes: list[int] = []
    for _ in range(count):
        moment = format_timestamp(rng.uniform(first, last))
        began, began_cpu = time.perf_counter(), time.process_time()
        with LogReader(location) as reader:
            document = StateReconstructor(reader).encoded_at(moment)
        wall_ms.append((time.perf_counter() - began) * 1000)
        cpu_ms.append((time.process_time() - began_cpu) * 1000)
        sizes.append(len(document))
    return {
        "events": events,
        "moments": count,
        "document_bytes_mean": round(statistics.mean(sizes)),
        "wall_ms": percentiles(wall_ms),
        "cpu_ms": percentiles(cpu_ms),
    }


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    found = {name: round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1) for name, share in at.items()}
    return {**found, "max": round(ordered[-1], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", help="a path or a URL")
    parser.add_argument("--moments", type=int, default=300)
    parser.add_argument("--every", type=int, default=10_000, help="events from one checkpoint to the next")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    made = make_checkpoints(arguments.log, arguments.every)
    found = measure(arguments.log, arguments.moments, arguments.seed)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({**found, "every": arguments.every, "checkpoints": made, "peak_mb": peak_mb}, indent=2))  # noqa: T201  # its answer


if __name__ == "__main__":
    main()
