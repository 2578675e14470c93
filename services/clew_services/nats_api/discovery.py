"""Discovery of the NATS services, as ADR-32 has it: ``$SRV.PING``, ``$SRV.INFO`` and ``$SRV.STATS``.

Each process that answers commands or queries replies to all three, to everybody or under its name and id, so that
``nats micro ls`` and other clients list it. The endpoints are those of the table of operations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

from nats.aio.msg import Msg
from nats.micro.service import (
    SEMVER_REGEX,
    EndpointInfo,
    EndpointStats,
    ServiceInfo,
    ServicePing,
    ServiceStats,
    ServiceVerb,
    control_subject,
)

from clew_events import ids
from clew_projections.nats.lean_client import LeanClient
from clew_services.nats_api.reply_codec import OK, Reply, is_unfit, send
from clew_services.version import clew_version

DESCRIPTIONS: Final = {
    "clew-commands": "Carries out the commands of a tenant",
    "clew-queries": "Answers the queries of a tenant",
}
_UNVERSIONED: Final = "0.0.0"


class Discovery:
    """What one service of a process says of itself, and counts of its endpoints."""

    def __init__(self, name: str, endpoints: Mapping[str, str]) -> None:
        """``endpoints`` are the subjects of the operations, by name; requests come to the queue group ``name``."""
        version = clew_version()
        self._name = name
        self._id = ids.random_id("", 22)
        self._version = version if SEMVER_REGEX.match(version) else _UNVERSIONED
        self._started = datetime.now(UTC)
        self._endpoints = endpoints
        self._stats = {
            endpoint: EndpointStats(endpoint, subject, name, 0, 0, 0, 0) for endpoint, subject in endpoints.items()
        }

    def note(self, endpoint: str, code: str, seconds: float) -> None:
        """Count a reply, of whatever :func:`clew_services.nats_api.reply_codec.code_of` says."""
        stats = self._stats.get(endpoint)
        if stats is None:
            return
        stats.num_requests += 1
        stats.processing_time += int(seconds * 1e9)
        stats.average_processing_time = stats.processing_time // stats.num_requests
        if code != OK:
            stats.num_errors += 1
            stats.last_error = code

    async def listen(self, nc: LeanClient) -> None:
        """Reply on a connection, until it is closed."""
        describe: dict[ServiceVerb, Callable[[], ServicePing | ServiceInfo | ServiceStats]] = {
            ServiceVerb.PING: lambda: ServicePing(self._id, self._name, self._version),
            ServiceVerb.INFO: self._info,
            ServiceVerb.STATS: self._statistics,
        }
        for verb, said in describe.items():
            for address in ((), (self._name,), (self._name, self._id)):
                await nc.subscribe(control_subject(verb, *address), cb=partial(_answer, nc, said))

    def _info(self) -> ServiceInfo:
        endpoints = [EndpointInfo(name, subject, self._name) for name, subject in self._endpoints.items()]
        return ServiceInfo(self._name, self._id, self._version, DESCRIPTIONS.get(self._name), endpoints)

    def _statistics(self) -> ServiceStats:
        return ServiceStats(self._id, self._name, self._version, self._started, list(self._stats.values()))


async def _answer(
    nc: LeanClient, describe: Callable[[], ServicePing | ServiceInfo | ServiceStats], message: Msg
) -> None:
    if message.reply and not is_unfit(message.reply):
        await send(nc, message.reply, Reply(json.dumps(describe().to_dict()).encode()))
