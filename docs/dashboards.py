"""Pictures of the dashboards: a loaded server, a real Prometheus, and each panel's queries drawn.

`python docs/dashboards.py` writes docs/images/dashboard-*.png; it takes about two minutes and Debian's prometheus.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.system.daemon import Daemon  # noqa: E402
from tests.system.monitored import CONFIG, Load, Prometheus, filled  # noqa: E402

mpl.use("Agg")
from matplotlib import pyplot  # noqa: E402

SECONDS = 90
SCALES = {"s": (1000, "ms"), "bytes": (1 / 2**20, "MiB"), "Bps": (1 / 1024, "KiB/s"), "percentunit": (100, "%")}


def draw(board: dict[str, Any], prometheus: Prometheus, start_s: float, end_s: float, file: Path) -> None:
    """One picture of a dashboard: numbers in a row, courses below, three beside each other."""
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    numbers = [panel for panel in panels if panel["type"] == "stat"]
    courses = [panel for panel in panels if panel["type"] != "stat"]
    rows = (len(courses) + 2) // 3
    pyplot.style.use("ggplot")
    figure = pyplot.figure(figsize=(15, 1.3 + 2.6 * rows), layout="constrained")
    figure.suptitle(board["title"], fontweight="bold")
    grid = figure.add_gridspec(rows + 1, 6, height_ratios=[0.45, *[1] * rows])
    for place, panel in enumerate(numbers):
        axes = figure.add_subplot(grid[0, place])
        axes.axis("off")
        [found] = prometheus.get("query", query=filled(panel["targets"][0]["expr"]))["result"]
        value, unit = float(found["value"][1]), panel["fieldConfig"]["defaults"]["unit"]
        text = {"bool_yes_no": "yes" if value else "no", "s": f"{value / 86400:.0f} days"}.get(unit, f"{value:,.4g}")
        axes.text(0.5, 0.55, text, ha="center", va="center", fontsize=20, color="#1f6f8b")
        axes.text(0.5, 0.05, panel["title"], ha="center", fontsize=9)
    for place, panel in enumerate(courses):
        column = place % 3 * 2
        axes = figure.add_subplot(grid[1 + place // 3, column : column + 2])
        factor, unit = SCALES.get(panel["fieldConfig"]["defaults"]["unit"], (1, ""))
        for target in panel["targets"]:
            found = prometheus.get(
                "query_range", query=filled(target["expr"]), start=str(start_s), end=str(end_s), step="1"
            )
            for each in found["result"]:
                legend = target["legendFormat"]
                for name, value in each["metric"].items():
                    legend = legend.replace("{{" + name + "}}", value)
                moments = [moment - start_s for moment, _ in each["values"]]
                axes.plot(moments, [float(value) * factor for _, value in each["values"]], label=legend, linewidth=1.2)
        axes.set_title(panel["title"] + (f" ({unit})" if unit else ""), fontsize=10)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7)
        if len(axes.lines) > 1:
            axes.set_ylim(top=axes.get_ylim()[1] * 1.25)
            axes.legend(fontsize=5, loc="upper left", ncols=4)
    figure.savefig(file, dpi=64)
    pyplot.close(figure)


def main() -> None:
    """All three."""
    with tempfile.TemporaryDirectory() as name, Daemon(Path(name), more=CONFIG) as daemon:
        load = Load(daemon, pause_s=0.02)
        load.start()
        prometheus = Prometheus(Path(name), daemon.ports["admin"])
        try:
            time.sleep(SECONDS)
            end_s = time.time()
            for file in sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")):
                picture = ROOT / "docs" / "images" / f"dashboard-{file.stem.removeprefix('slircd-')}.png"
                draw(json.loads(file.read_text()), prometheus, end_s - SECONDS + 15, end_s, picture)
        finally:
            prometheus.close()
            load.stop()


if __name__ == "__main__":
    main()
