"""`make audit`: does anything that deploy/requirements.txt names have a known vulnerability?

Asks pip-audit, which asks PyPI.  Exit status: 0 none known; 1 there are some, which are shown; 0, too, with a word about
it, where the machine cannot reach the data or the index that it uses has none: that is no proof of anything.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def findings(report: dict[str, Any]) -> tuple[list[str], int, int]:
    """What a report of pip-audit says: a line for each vulnerability, how many packages it knew, how many it did not."""
    known = [each for each in report["dependencies"] if "skip_reason" not in each]
    lines = [
        f"{each['name']} {each['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'no version'}"
        for each in known
        for found in each["vulns"]
    ]
    return lines, len(known), len(report["dependencies"]) - len(known)


def main(requirements: Path = REQUIREMENTS) -> int:
    """Run it; gives the exit status."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner=off"]
    done = subprocess.run(  # noqa: S603  # nothing of it comes from elsewhere
        [*command, "--format=json", "--requirement", str(requirements)], capture_output=True, text=True, check=False
    )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        sys.stderr.write(f"audit: no data about vulnerabilities could be had ({reason})\n")
        # A mistake of ours (a damaged file) must not pass for a missing network.
        return 0 if "requests.exceptions." in done.stderr else 1
    lines, known, unknown = findings(report)
    lines.append(f"audit: {len(lines)} vulnerabilities known in {known} packages; of {unknown} there was no data")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if len(lines) > 1 else 0


if __name__ == "__main__":
    sys.exit(main())
