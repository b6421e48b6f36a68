"""Coverage-guided fuzzing: `python -m tests.fuzz.run TARGET… | all --seconds N`.

Each target runs in a process of its own, under atheris (`pip install -e .[test,fuzz]`), which sees the branches of
slircd's code.  A failure does not end the run: it is told once for each place, and its input is made small and kept
under the folder of the run.  At the end the inputs that were found, and those of the repository, become the smallest set
that reaches as much, which `--keep` writes into tests/fuzz/corpus, with those that failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Final

from tests.fuzz import corpus
from tests.fuzz.watch import quietly

REPORT: Final = "report.txt"
HANGS_S: Final = 20
"""Seconds after which an input is a failure of its own."""

MEMORY_MB: Final = 2048


def say(text: str) -> None:
    """Tell whoever runs it."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def fuzz(name: str, folder: Path, seconds: int) -> None:
    """In a process of its own: one target, for so long; does not return."""
    import atheris

    with atheris.instrument_imports(include=["slircd"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    quietly()
    told: set[str] = set()

    def once(data: bytes) -> None:
        try:
            target.run(data)
        except Exception:
            failure = corpus.failure_of(target.run, data)
            if failure in told:
                return
            told.add(failure)
            say(f"{name}: {failure}")
            traceback.print_exc()
            path = corpus.save(folder / "failures", corpus.shrink(target.run, data, tries=300))
            with (folder / "failures.txt").open("a") as file:
                file.write(f"{path.name} {failure}\n")

    options = [
        f"-max_total_time={seconds}",
        f"-max_len={target.max_bytes}",
        "-len_control=20",
        f"-timeout={HANGS_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
        "-verbosity=1",
        str(folder / "found"),
    ]
    atheris.Setup([sys.argv[0], *options], once)
    atheris.Fuzz()


def in_a_process(name: str, folder: Path, seconds: int) -> str:
    """Fuzz one target, and say how far that came."""
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.run",
        name,
        "--seconds",
        str(seconds),
        "--folder",
        str(folder),
        "--child",
    ]
    with (folder / "log.txt").open("w") as log:
        status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    text = (folder / "log.txt").read_text(errors="replace")
    runs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", text) or re.findall(r"^#(\d+)", text, re.MULTILINE)
    branches = re.findall(r"cov: (\d+)", text)
    ended = f", status {status}" if status else ""
    return f"{(runs or ['?'])[-1]} inputs in {seconds} s, {(branches or ['?'])[-1]} branches{ended}, "


def run_one(name: str, folder: Path, seconds: int, *, keep: bool) -> tuple[str, bool]:
    """One target: what came of it, in words, and whether something failed."""
    from tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    found, failures = folder / "found", folder / "failures"
    found.mkdir(parents=True, exist_ok=True)
    for data in [*target.seeds, *(data for _, data in corpus.kept(target))]:
        corpus.save(found, data)
    report = in_a_process(name, folder, seconds) if seconds else ""
    hard = [path.name for pattern in ("crash-*", "timeout-*", "oom-*") for path in folder.glob(pattern)]
    chosen, arcs = corpus.smallest_set(target.run, corpus.inputs(found), target.most_kept)
    failed = corpus.inputs(failures)
    if keep:
        shutil.rmtree(corpus.FOLDER / name, ignore_errors=True)
        for data in chosen:
            corpus.save(corpus.FOLDER / name, data)
        for data in failed:
            corpus.save(corpus.FOLDER / name, data, "failed-")
    size = sum(map(len, chosen))
    report = f"{name}: {report}{arcs} arcs by {len(chosen)} inputs ({size} bytes), {len(failed)} failures"
    return f"{report}{''.join(f', {each}' for each in hard)}", bool(failed or hard)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="+", help="names of targets, or all")
    parser.add_argument(
        "--seconds", type=int, default=300, help="seconds for each target; 0: none, look at what is there"
    )
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"), help="where inputs and failures are kept")
    parser.add_argument("--keep", action="store_true", help="make the smallest set of inputs the repository's corpus")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        fuzz(options.targets[0], options.folder, options.seconds)
    from tests.fuzz.targets import TARGETS

    names = sorted(TARGETS) if options.targets == ["all"] else options.targets
    unknown = set(names) - set(TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(sorted(TARGETS))}")
    failed = False
    for name in names:
        folder = options.folder.resolve() / name
        folder.mkdir(parents=True, exist_ok=True)
        report, bad = run_one(name, folder, options.seconds, keep=options.keep)
        failed = failed or bad
        say(report)
        with (options.folder / REPORT).open("a") as file:
            file.write(f"{report}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    sys.exit(main())
