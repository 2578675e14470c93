"""The versions of Clew and of the NATS server that it would start."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from clew_services.embedded import binary
from clew_services.host import CannotStart


def versions() -> dict[str, str]:
    """The versions by name: ``unknown`` if Clew is not installed, ``none`` if there is no nats-server."""
    return {"clew": clew_version(), "nats-server": _nats_server()}


def clew_version() -> str:
    """The installed distribution's version."""
    try:
        return version("clew")
    except PackageNotFoundError:
        return "unknown"


def _nats_server() -> str:
    try:
        return binary.version(binary.find())
    except CannotStart:
        return "none"
