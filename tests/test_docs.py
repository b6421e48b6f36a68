"""The documentation is what the code says, and the commands that it shows work."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.harness import World

ROOT = Path(__file__).parents[1]


def generator() -> object:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", sorted(generator().PAGES))  # type: ignore[attr-defined]
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


def commands_of(page: str) -> list[list[str]]:
    """The lines of a page's shell blocks, as words."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [words for words in lines if words]


def test_commands_of_the_event_log_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command that docs/event-log.md shows runs, in its order, on a log and with the configuration shown there."""
    from slircd.cli import main as slircd
    from slircd.replay.cli import main as slircd_replay
    from slircd.secrets import load_or_create
    from tests.retention.logs import lively, write

    monkeypatch.chdir(tmp_path)
    [config] = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "event-log.md").read_text(), re.DOTALL)
    # The log of a test lies in the past, all of it; keep its state, so that a moment of it can be exported.
    (tmp_path / "slircd.toml").write_text(config.replace("keep_days = 365", "keep_days = 36500"))
    load_or_create(tmp_path / "slircd-secrets.toml", {}, lambda password: "$argon2id$x", lambda known, password: True)
    write("sqlite:///slircd.db", lively().store.rows)
    programs = {"slircd": slircd, "slircd-replay": slircd_replay}
    commands = commands_of("event-log.md")
    assert len(commands) >= 10
    for name, *words in commands:
        done = CliRunner().invoke(programs[name], words)
        assert done.exit_code == 0, (name, words, done.output)
