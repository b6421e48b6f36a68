"""What the image is made of, and whether anything known is wrong with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "deploy" / "requirements.txt"


def locked() -> dict[str, Requirement]:
    lines = LOCK.read_text().replace("\\\n", " ").splitlines()
    assert all("--hash=sha256:" in line for line in lines)
    found = [Requirement(line.split(" --hash", 1)[0]) for line in lines]
    return {canonicalize_name(each.name): each for each in found if each.marker is None or each.marker.evaluate()}


def test_what_is_locked_is_what_setup_cfg_asks_for() -> None:
    """Run `make lock` if this fails."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    wanted = setup["options"]["install_requires"] + setup["options.extras_require"]["postgresql"]
    pinned = locked()
    assert default_environment()["python_full_version"] >= "3.11"
    for line in filter(None, map(str.strip, wanted.splitlines())):
        required = Requirement(line)
        version = re.fullmatch(r"==([\w.]+)", str(pinned[canonicalize_name(required.name)].specifier))
        assert version is not None, line
        assert required.specifier.contains(version[1]), line


REPORT = {
    "dependencies": [
        {"name": "good", "version": "1.0", "vulns": []},
        {"name": "bad", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": []}]},
        {"name": "strange", "skip_reason": "Dependency not found on PyPI"},
    ]
}


def audit(tmp_path: Path, program: str) -> subprocess.CompletedProcess[str]:
    """`make audit` with this instead of pip-audit."""
    (tmp_path / "pip_audit.py").write_text(program)
    command = [sys.executable, str(ROOT / "deploy" / "audit.py")]
    return subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False)


def test_a_known_vulnerability_fails(tmp_path: Path) -> None:
    done = audit(tmp_path, f"print({json.dumps(json.dumps(REPORT))})")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "bad 2.0: PYSEC-1, mended in 2.1",
        "audit: 1 vulnerabilities known in 2 packages; of 1 there was no data",
    ]


@pytest.mark.parametrize(
    ("trouble", "status"),
    [("requests.exceptions.ConnectionError: no route", 0), ("pip_audit: error: argument", 1), ("", 1)],
)
def test_no_data_is_not_taken_for_no_vulnerability(tmp_path: Path, trouble: str, status: int) -> None:
    """Without a network the audit says that it knows nothing; whatever else goes wrong is a failure."""
    done = audit(tmp_path, f"import sys; sys.exit({trouble!r})")
    assert done.returncode == status
    assert "no data" in done.stderr
    assert trouble in done.stderr
