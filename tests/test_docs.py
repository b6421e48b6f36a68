"""The documentation is what the code says, and the commands that it shows work."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from tests.harness import World

ROOT = Path(__file__).parents[1]


def generator() -> object:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "page",
    [
        "admin-api.md",
        "events.md",
        "configuration.md",
        "commands.md",
        "slircd-replay.schema.json",
        "plugin-api.md",
        "../plugins/meta/slircd.lua",
    ],
)
def test_reference_pages_are_up_to_date(page: str) -> None:
    """Run `python docs/generate.py` if this fails."""
    assert (ROOT / "docs" / page).read_text() == generator().PAGES[page]()  # type: ignore[attr-defined]


def test_links_lead_somewhere() -> None:
    """Every relative link of README and docs names a file that is there."""
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_queries_of_the_runbook_are_right(tmp_path: Path) -> None:
    """Each SELECT that README and runbook show runs on a real log."""
    import sqlite3

    from slircd.events.row import Row
    from slircd.events.store import SQLStore

    world = World()
    world.client("ann").sends("JOIN #help", "TOPIC #help :hi")
    store = SQLStore(f"sqlite:///{tmp_path / 'slircd.db'}", call_in_reactor=lambda *_: None, seconds=float)
    store.open()
    store.append([Row(*row) for row in world.store.rows])
    store.close()
    text = (ROOT / "README.md").read_text() + (ROOT / "docs" / "RUNBOOK.md").read_text()
    queries = re.findall(r'sqlite3 slircd\.db "(SELECT [^"]+)"', text)
    assert len(queries) >= 3
    with sqlite3.connect(tmp_path / "slircd.db") as connection:
        results = [connection.execute(query).fetchall() for query in queries]
    assert sum(bool(rows) for rows in results) >= 2


def test_nothing_points_outside_the_repository() -> None:
    """Tracked files hold no path of somebody's machine."""
    listed = subprocess.run(
        ["git", "ls-files", "*.md", "*.py", "*.cfg", "*.toml"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    for name in listed.stdout.splitlines():
        text = (ROOT / name).read_text()
        assert not re.search(r"(?<![\w.~/-])/(home|root|work|Users)/\w", text), name
