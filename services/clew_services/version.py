"""The version of Clew."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def clew_version() -> str:
    """The installed distribution's version; ``unknown`` for a Clew that was not installed."""
    try:
        return version("clew")
    except PackageNotFoundError:
        return "unknown"
