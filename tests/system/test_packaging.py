"""Installed in both ways, from any folder, the plugin is found and shadows nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]

ASSET_COUNT = sum(1 for _ in (ROOT / "slircd/admin/ui").iterdir())

CHECK = """
import twisted.internet, twisted.plugins, alembic.command, sys
from twisted.plugin import getPlugins
from twisted.application.service import IServiceMaker
from slircd.events.migrate import migrations_folder
from slircd.plugins.manifest import available
from slircd.plugins.process import LUA
assert twisted.internet.__file__.startswith(SITE), twisted.internet.__file__
assert alembic.command.__file__.startswith(SITE), alembic.command.__file__
assert "slircd" in [plugin.tapname for plugin in getPlugins(IServiceMaker)]
from slircd.admin.page import ASSETS
assert {"index.html", "app.js", "style.css", "icon.svg"} <= set(ASSETS), sorted(ASSETS)
assert len(ASSETS) == ASSET_COUNT
assert (migrations_folder() / "versions" / "0001_events.py").is_file()
assert available([]) == ["antispam", "greet", "seen", "welcome"], available([])
assert (LUA / "prelude.lua").is_file()
"""


def test_folders_that_share_a_name_with_a_library_are_no_packages() -> None:
    """No __init__.py, ever: the installed twisted and alembic win."""
    for folder in ("twisted", "twisted/plugins", "alembic", "alembic/versions"):
        assert (ROOT / folder).is_dir()
        assert not (ROOT / folder / "__init__.py").exists()


def test_here() -> None:
    """In this environment, under pytest, from the repository's root and from anywhere else."""
    import alembic.command
    import twisted.internet

    assert not twisted.internet.__file__.startswith(str(ROOT / "twisted"))
    assert not alembic.command.__file__.startswith(str(ROOT / "alembic/"))


def unpacked_sdist(source: Path, folder: Path) -> Path:
    """What somebody has who fetched the sdist; it holds what a packager needs, too."""
    code = f"from setuptools import build_meta; print(build_meta.build_sdist({str(folder)!r}))"
    built = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True)
    archive = folder / built.stdout.splitlines()[-1]
    with tarfile.open(archive) as file:
        file.extractall(folder / "unpacked", filter="data")
    [unpacked] = (folder / "unpacked").iterdir()
    for name in ("deploy/slircd.service", "deploy/Dockerfile", "docs/RUNBOOK.md", "tests/harness.py", "LICENSE"):
        assert (unpacked / name).is_file(), name
    return unpacked


@pytest.mark.parametrize("how", ["editable", "regular", "sdist"])
def test_installed(tmp_path: Path, how: str) -> None:
    """`pip install -e .`, `pip install .` and of an sdist, in an environment of its own: import, plugin, migrations."""
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=False, system_site_packages=False)
    python = folder / "bin" / "python"
    # The libraries are those of this environment, by a path file: only slircd itself is what is installed.
    site = next((folder / "lib").glob("python*")) / "site-packages"
    theirs = (
        Path(os.__file__).parent if sys.prefix == sys.base_prefix else next(Path(sys.prefix, "lib").glob("python*"))
    )
    libraries = site / "libraries"
    libraries.mkdir()
    for entry in (theirs / "site-packages").iterdir():
        if "slircd" not in entry.name:
            (libraries / entry.name).symlink_to(entry)
    (site / "libraries.pth").write_text(f"{libraries}\n")
    source = ROOT
    if how != "editable":
        source = tmp_path / "source"
        listed = subprocess.run(
            ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"],
            check=True,
            capture_output=True,
            text=True,
        )
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                target = source / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((ROOT / name).read_bytes())
    if how == "sdist":
        source = unpacked_sdist(source, tmp_path)
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            *install,
            *(["-e"] if how == "editable" else []),
            str(source),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for cwd in (elsewhere, ROOT):
        code = f"SITE = {str(libraries)!r}\nASSET_COUNT = {ASSET_COUNT}\n{CHECK}"
        checked = subprocess.run([str(python), "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        twistd = "from twisted.scripts.twistd import run; import sys; sys.argv[1:] = ['--help']; run()"
        listed = subprocess.run([str(python), "-c", twistd], cwd=cwd, capture_output=True, text=True, check=False)
        assert "slircd" in listed.stdout, listed.stderr
    version = subprocess.run([str(folder / "bin" / "slircd"), "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("slircd, version 0.1.0")
