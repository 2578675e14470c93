"""The race as a picture: ``python -m bench.peers.plot peers.json peers.svg``, in an environment that has matplotlib."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
# The same figures give the same file, and words are kept as words.
mpl.rcParams.update({"svg.hashsalt": "clew", "svg.fonttype": "none"})

from matplotlib import pyplot as plt  # noqa: E402

LANES = {
    "create": "HTTP create",
    "get": "HTTP get",
    "update": "HTTP update",
    "list-many": "HTTP list",
    "append-32": "append, 32 in flight",
    "append-256": "append, 256 in flight",
    "turn-agents": "turns of the Agents SDK",
    "turn-adk": "turns of ADK",
}
OURS, OTHERS, NOT_DURABLE = "#1f6f5c", "#8a8f98", "#d9b36c"


def main(source: Path, target: Path) -> None:
    """Draw a bar for each contender in each lane."""
    report = json.loads(source.read_text())["result"]
    durable = {each["name"]: each["durable"] for each in report["abouts"]}
    lanes = [lane for lane in LANES if any(each["lane"] == lane for each in report["figures"])]
    figure, axes = plt.subplots(-(-len(lanes) // 2), 2, figsize=(11, 1.7 * len(lanes) / 2 + 1.5), squeeze=False)
    for lane, axis in zip(lanes, axes.flat, strict=False):
        found = [each for each in report["figures"] if each["lane"] == lane and not each["failed"]]
        found.sort(key=lambda each: each["per_second"])
        names = [each["contender"] for each in found]
        colours = [NOT_DURABLE if not durable[name] else OURS if name.startswith("Clew") else OTHERS for name in names]
        bars = axis.barh(names, [each["per_second"] for each in found], color=colours)
        axis.bar_label(bars, labels=[f"{each['per_second']:,.0f}" for each in found], padding=3, fontsize=8)
        axis.set_title(LANES[lane], fontsize=10, loc="left")
        axis.margins(x=0.15)
        axis.tick_params(labelsize=8)
        axis.set_xticks([])
        axis.spines[["top", "right", "bottom"]].set_visible(False)
    for axis in list(axes.flat)[len(lanes) :]:
        axis.set_visible(False)
    figure.suptitle("Operations a second; light bars are not on disk when answered", fontsize=11)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
