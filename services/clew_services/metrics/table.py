"""The table of docs/operating/metrics.md: ``python -m clew_services.metrics.table``."""

from __future__ import annotations

from collections.abc import Iterator

from clew_services.metrics.catalogue import ALL


def rows() -> Iterator[str]:
    """One line of Markdown for each metric, in the order of the catalogue."""
    for metric in ALL:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.source} | {metric.help} |"


if __name__ == "__main__":
    print("\n".join(rows()))  # noqa: T201 - this is what it is for
