"""The versions of Clew and of the NATS server that it would start."""

from __future__ import annotations

from clew_services.embedded import binary
from clew_services.host import CannotStart
from clew_services.version import clew_version


def versions() -> dict[str, str]:
    """The versions by name: ``unknown`` if Clew is not installed, ``none`` if there is no nats-server."""
    return {"clew": clew_version(), "nats-server": _nats_server()}


def _nats_server() -> str:
    try:
        return binary.version(binary.find())
    except CannotStart:
        return "none"
