"""The dashboards are what their generator says, and every query of theirs has data on a real, loaded server."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.system.daemon import DEADLINE_S, Daemon
from tests.system.monitored import CONFIG, Load, Prometheus, filled

pytestmark = pytest.mark.system

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None and not os.environ.get("CI"), reason="needs Debian's prometheus"
)


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            if panel["type"] != "row":
                yield f"{file.stem}: {panel['title']}", panel


def queries() -> dict[str, str]:
    """Every query of every panel, by where it stands."""
    return {f"{where} {target['refId']}": target["expr"] for where, panel in panels() for target in panel["targets"]}


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dashboards", DEPLOY / "grafana" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_are_what_the_generator_writes() -> None:
    """Run `python deploy/grafana/generate.py` if this fails."""
    assert {file.name: file.read_text() for file in DASHBOARDS} == generator().pages()


def test_panels_are_complete() -> None:
    """Three dashboards with unique uids; each panel has a title, a unit, its data source and at least one query."""
    documents = [json.loads(file.read_text()) for file in DASHBOARDS]
    assert sorted(each["title"] for each in documents) == [
        "Channel Activity",
        "IRC Server Overview",
        "User Sessions",
    ]
    assert len({each["uid"] for each in documents}) == 3
    for where, panel in panels():
        assert panel["targets"], where
        assert panel["datasource"]["uid"] == "slircd-prometheus", where
        assert panel["fieldConfig"]["defaults"]["unit"], where


@needs_prometheus
def test_every_query_has_data(tmp_path: Path) -> None:
    """A real Prometheus scrapes a real server under load; no panel of any dashboard is empty."""
    with Daemon(tmp_path, more=CONFIG) as daemon:
        load = Load(daemon)
        load.start()
        prometheus = Prometheus(tmp_path, daemon.ports["admin"])
        try:
            empty = queries()
            assert len(empty) > 60
            deadline = time.monotonic() + DEADLINE_S
            while empty and time.monotonic() < deadline:
                assert load.error is None, load.error
                empty = {where: expr for where, expr in empty.items() if not has_data(prometheus, expr)}
                time.sleep(0.5)
            assert not empty
            assert prometheus.get("label/instance/values") == [f"127.0.0.1:{daemon.ports['admin']}"]
            # Series that rules and dashboards name are all exported.
            known = set(prometheus.get("label/__name__/values"))
            for file in (*DASHBOARDS, DEPLOY / "prometheus" / "rules.yml"):
                named = set(re.findall(r"\b(?:slircd|process)_[a-z_]+", file.read_text()))
                named -= {"slircd_"}
                assert named <= known, (file.name, named - known)
        finally:
            prometheus.close()
            load.stop()


def has_data(prometheus: Prometheus, expr: str) -> bool:
    data = prometheus.get("query", query=filled(expr))
    return data is not None and any(not math.isnan(float(each["value"][1])) for each in data["result"])


@pytest.mark.skipif(shutil.which("promtool") is None and not os.environ.get("CI"), reason="needs Debian's prometheus")
def test_rules() -> None:
    """Each alert is raised by its trouble, and by nothing else; promtool has nothing to say."""
    folder = DEPLOY / "prometheus"
    for words in (["check", "rules", "--lint=all", "rules.yml"], ["test", "rules", "rules.test.yml"]):
        done = subprocess.run(["promtool", *words], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_runbook_has_what_alerts_point_to() -> None:
    """Every alert names a heading of the runbook."""
    headings = re.findall(r"^#+ (.+)$", (DEPLOY.parent / "docs" / "RUNBOOK.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    named = re.findall(r"runbook: docs/RUNBOOK\.md#(\S+)", (DEPLOY / "prometheus" / "rules.yml").read_text())
    assert named
    assert set(named) <= anchors
