"""Shell completion of the commands as files: `python deploy/completions.py` writes completions/*.

bash: /usr/share/bash-completion/completions/slircd · zsh: a folder of fpath, as _slircd · fish: completions/slircd.fish
"""

from __future__ import annotations

from pathlib import Path

from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from slircd.cli import main
from slircd.replay.cli import main as replay

FOLDER = Path(__file__).parent / "completions"
SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


class _Bash(BashComplete):
    @staticmethod
    def _check_version() -> None:
        """The file is written for the shells of others, whatever there is here."""


def pages() -> dict[str, str]:
    """The files and what stands in them."""
    written: dict[str, str] = {}
    for name, command in (("slircd", main), ("slircd-replay", replay)):
        variable = f"_{name.upper().replace('-', '_')}_COMPLETE"
        for shell, cls in {**SHELLS, "bash": _Bash}.items():
            written[f"{name}.{shell}"] = cls(command, {}, name, variable).source().rstrip() + "\n"
    return written


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
