"""A minute of chaos, with every kind of fault that this machine can have; `python -m tests.chaos` has the long version."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
SEED = 11
KINDS = 22
AT_LEAST = {"kill", "restart", "kill_without_database", "database_restart", "plugin_fault", "rehash", "clock_back"}


def test_a_minute(tmp_path: Path) -> None:
    """The daemon is killed, its disk fills, its database goes, its clock jumps …: every invariant holds to the end."""
    command = [sys.executable, "-m", "tests.chaos", "--seconds", "45", "--seed", str(SEED), "--keep", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["violations"] == []
    assert set(report["faults"]) >= AT_LEAST
    # What this machine cannot have is said, and nothing else is missing.
    skipped = {name.strip() for line in report["skipped"] for name in line.partition(":")[0].split(",")}
    assert len(set(report["faults"]) | skipped) == KINDS
    assert report["facts_compared"] > 500
    assert report["counts"]["messages compared"] > 500
    assert report["feed_events"] > 200
