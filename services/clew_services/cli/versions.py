"""Which Clew this is, and which NATS server it would start."""

from __future__ import annotations

from clew_services.embedded import binary
from clew_services.host import CannotStart
from clew_services.version import clew_version


def versions() -> dict[str, str]:
    """The versions by name: ``unknown`` for a Clew that was not installed, ``none`` if there is no server."""
    return {"clew": clew_version(), "nats-server": _nats_server()}


def _nats_server() -> str:
    try:
        return binary.version(binary.find())
    except CannotStart:
        return "none"
