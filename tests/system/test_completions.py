"""Shell completion: the files are what click makes today, and bash completes with them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

DEPLOY = Path(__file__).parents[2] / "deploy"

ASK = """
source {file}
COMP_WORDS=({words}) COMP_CWORD={last}
_slircd_completion slircd
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def test_files_are_up_to_date() -> None:
    """Run `python deploy/completions.py` if this fails."""
    spec = importlib.util.spec_from_file_location("completions", DEPLOY / "completions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert {file.name: file.read_text() for file in (DEPLOY / "completions").iterdir()} == module.pages()


@pytest.mark.parametrize(
    ("typed", "expected"), [("slircd conf", ["config"]), ("slircd config ", ["check", "example", "show"])]
)
def test_bash_completes(typed: str, expected: list[str]) -> None:
    """What a person with bash gets at TAB."""
    words = typed.split(" ")
    script = ASK.format(
        file=DEPLOY / "completions" / "slircd.bash", words=" ".join(f"'{word}'" for word in words), last=len(words) - 1
    )
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=environ)
    assert done.stdout.split() == expected, done.stderr
