"""The command `python -m tests.chaos`."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

INSIDE = "SLIRCD_CHAOS_INSIDE"


def main() -> int:
    """Run, and exit with 1 if anything did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument(
        "--seed", type=int, default=None, help="decides the order of the faults; default: another each time"
    )
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--clients", type=int, default=16, help="people of the crowd")
    parser.add_argument("--rate", type=float, default=1.5, help="what each of them does in a second")
    parser.add_argument("--only", default="", help="names of faults, separated by commas")
    parser.add_argument("--keep", type=Path, default=None, help="folder for report and logs; default: a temporary one")
    options = parser.parse_args()
    _enter_namespaces()
    from tests.chaos.run import Run

    folder = options.keep or Path(tempfile.mkdtemp(prefix="slircd-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}, database {options.database}, {options.seconds:.0f} s, in {folder}", flush=True)  # noqa: T201

    async def go() -> Run:
        run = Run(
            folder,
            seconds=options.seconds,
            seed=seed,
            database=options.database,
            size=options.clients,
            rate=options.rate,
            only=[name for name in options.only.split(",") if name],
        )
        await run.go()
        return run

    run = asyncio.run(go())
    shutil.rmtree(folder / "place" / "tmp", ignore_errors=True)
    return 1 if run.violations else 0


def _enter_namespaces() -> None:
    """Begin again in a network and a mount namespace of this run's own, where that is allowed.

    Then ports, devices and mounts are nobody else's, and go when the run does, however it ends.
    """
    if INSIDE in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    words = ["unshare", "--net", "--mount"]
    if shutil.which("ip") and not subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        command = [*words, sys.executable, "-m", "tests.chaos", *sys.argv[1:]]
        os.execvpe(words[0], command, {**os.environ, INSIDE: "1"})


if __name__ == "__main__":
    sys.exit(main())
