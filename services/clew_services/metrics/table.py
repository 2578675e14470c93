"""The table of docs/operating/metrics.md: ``python -m clew_services.metrics.table``."""

from __future__ import annotations

from collections.abc import Iterator

from clew_services.metrics.catalogue import ALL


def rows() -> Iterator[str]:
    """One line of Markdown for each metric, in the order of the catalogue."""
    for each in ALL:
        labels = ", ".join(f"`{label}`" for label in each.labels)
        yield f"| `{each.name}` | {each.kind} | {labels} | {each.source} | {each.help} |"


if __name__ == "__main__":
    print("\n".join(rows()))  # noqa: T201 - this is what it is for
