"""``clew up``: all of Clew on one machine: a NATS server, and processes for NATS, HTTP, projections and the index.

Four processes, because each can use a whole core: a request is decided and appended where it arrives. The projector and
the indexer run at a lower priority, because a late projection makes no answer wrong. The parts are forked from one
process, after the server, all at once, and stopped in the reverse order.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ipaddress
import logging
import os
import re
import ssl
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import msgspec

from clew_events import ids
from clew_events.errors import Invalid
from clew_projections.atomic_file import write_atomically
from clew_services.api_keys import Keys
from clew_services.checkpoints.key_file import load_or_create_key
from clew_services.embedded.data_folder import claim
from clew_services.embedded.server import EmbeddedServer
from clew_services.eventstore import provision
from clew_services.eventstore.lost_streams import is_in_use
from clew_services.host import CannotStart, nats_url
from clew_services.host.ports import refuse_taken
from clew_services.metrics import counter_files
from clew_services.nats_connection import connection
from clew_services.process.disk_watch import watch_disk
from clew_services.process.fork_server import Launch
from clew_services.process.supervisor import Part, ServiceProcess, keep, start_all, until_signalled
from clew_services.settings import Address, Settings
from clew_services.tenant_list import TenantList

OVER_NATS: Final = ("commands", "query")
PROJECTING: Final = ("projector", "erasure", "retention")
INDEXING: Final = ("index",)
OVER_HTTP: Final = ("api",)

_REMEDY: Final = "Choose another with --http or CLEW_HTTP (port 0 takes any free one)"
_LOG: Final = logging.getLogger("clew.up")


class Up(msgspec.Struct, frozen=True, kw_only=True):
    """The addresses and the folder of a running Clew.

    Unless keys are configured, ``api_key_file`` holds the one that Clew issued, and ``api_key`` is that at its first
    start.
    """

    http: str
    nats: str
    data: str
    api_key: str | None = None
    api_key_file: str | None = None


async def run(
    settings: Settings, launch: Launch, ready: Callable[[Up], None], accept_loss: Collection[str] = ()
) -> None:
    """Run all parts until SIGINT, SIGTERM or SIGHUP, then stop them in order; a second signal kills the rest.

    ``launch`` starts the parts. ``ready`` is called once, when the API answers. ``accept_loss`` is as for
    :func:`clew_services.eventstore.provision.init`. Must be run by the main thread.

    Raises:
        CannotStart: something prevents the start. Nothing is left running.
        ClewError: the deployment on the NATS server cannot be used. Nothing is left running.
    """
    parts: list[Part] = []
    async with until_signalled(parts), contextlib.AsyncExitStack() as stack:
        ready(await _start(settings, launch, parts, stack, accept_loss))
        async with asyncio.TaskGroup() as keepers:
            for part in parts:
                keepers.create_task(keep(part))
                if isinstance(part, EmbeddedServer):
                    keepers.create_task(watch_disk(part))


async def _start(
    settings: Settings,
    launch: Launch,
    parts: list[Part],
    stack: contextlib.AsyncExitStack,
    accept_loss: Collection[str],
) -> Up:
    async def start(part: Part) -> None:
        parts.append(part)
        stack.push_async_callback(part.stop)
        await part.start()

    wanted, data = settings.http_address, settings.data_folder
    refuse_taken(*wanted, purpose="the HTTP API", remedy=_REMEDY)
    if settings.embedded_port is None:
        stack.callback((await claim(data)).release)
        nats = settings.nats_url
    else:
        password = nats_url.password(data)
        server = EmbeddedServer(data, port=settings.embedded_port, sync=settings.sync, password=password)
        await start(server)
        nats = server.url
        nats_url.write(data, nats)
    async with connection(nats, name="clew-init", security=settings.nats_security) as made:
        size = made.nc.max_payload
        in_use = await is_in_use(made.js, settings.shards)
        created = await provision.init(
            made.js,
            shards=settings.shards,
            replicas=settings.replicas,
            max_msg_size=size,
            accept_loss=accept_loss,
        )
        if in_use and created:
            _LOG.warning("was missing, and was created again: %s", ", ".join(created))
        first = None if settings.api_keys else load_or_issue_key(data)
        keys = settings.api_keys if first is None else f"{first.key}:{first.tenant}"
        if settings.embedded_port is not None:
            await TenantList(made.js).create({holder.tenant for holder in Keys.parse(keys).configured()})
    if not settings.signing_key:
        load_or_create_key(settings.signing_key_file)
    environment = {
        **os.environ,
        **(counter_files.reset_folder(data) if settings.metrics != "off" else {}),
        **settings.environment,
        "CLEW_NATS": nats,
        "CLEW_API_KEYS": keys,
        "CLEW_HTTP": str(wanted),
        "CLEW_DATA": str(data),
        "CLEW_WORKERS": "1",
        "CLEW_INDEX": str(settings.index_folder),
        "CLEW_ENCRYPTED_AT_REST": settings.encrypted_at_rest if settings.embedded_port is None else "no",
    }
    # The API serves the metrics of all processes.
    others = {**environment, "CLEW_METRICS": "off"}
    _, facts = await asyncio.gather(
        asyncio.gather(*(start(ServiceProcess(launch, roles, others)) for roles in (PROJECTING, INDEXING, OVER_NATS))),
        start_all(launch, OVER_HTTP, environment, settings.workers, start),
    )
    address = Settings(http=facts["http"]).http_address
    await until_ready(address, tls=bool(settings.http_cert))
    return Up(
        http=f"{'https' if settings.http_cert else 'http'}://{reachable(address)}/v1",
        nats=re.sub("//[^/]*@", "//", nats),  # without user and password, because it is printed
        data=str(data),
        api_key=first.key if first is not None and first.issued else None,
        api_key_file=str(data / KEY_FILE) if first is not None else None,
    )


PATIENCE: Final = 60.0
_TIMEOUT: Final = 5.0
_PAUSE: Final = 0.02


async def until_ready(address: Address, *, tls: bool = False) -> None:
    """Wait until ``/readyz`` answers 200, over HTTPS with ``tls``.

    Raises:
        CannotStart: it does not within :data:`PATIENCE` seconds; the message has the last answer.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        verdict = await asyncio.to_thread(_ask, reachable(address), tls)
        if verdict is None:
            return
        if loop.time() > deadline:
            raise CannotStart(f"the HTTP API is not ready: {verdict}")
        await asyncio.sleep(_PAUSE)


def reachable(address: Address) -> Address:
    """The address for clients on this machine: a wildcard becomes loopback."""
    try:
        ip = ipaddress.ip_address(address.host)
    except ValueError:
        return address
    if not ip.is_unspecified:
        return address
    return Address("127.0.0.1" if ip.version == 4 else "::1", address.port)


def _ask(address: Address, tls: bool) -> str | None:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_TIMEOUT)
    if tls:  # the certificate is for other names than that of loopback, and who answers is our own child
        trusting = ssl._create_unverified_context()  # noqa: S323, SLF001
        connection = http.client.HTTPSConnection(address.host, address.port, timeout=_TIMEOUT, context=trusting)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        body = response.read(1000)
        return None if response.status == 200 else f"{response.status} {body.decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as fault:
        return str(fault)
    finally:
        connection.close()


KEY_FILE: Final = "api-key"
KEY_TENANT: Final = "default"
_KEY_LENGTH: Final = 40


class FirstKey(msgspec.Struct, frozen=True):
    """The key of a data folder, its tenant, and whether it was ``issued`` just now."""

    key: str
    tenant: str
    issued: bool


def load_or_issue_key(folder: Path) -> FirstKey:
    """The folder's key: the one kept there, or a new one that only this user can read.

    The file is the key and nothing else, so that a shell can take it as it is. One that says whose it is, as
    ``key:tenant``, is of before that.

    Raises:
        CannotStart: the file cannot be read or written, or holds no key.
    """
    file = folder / KEY_FILE
    try:
        issued = not file.exists()
        if issued:
            write_atomically(file, f"{ids.random_id('clew_', _KEY_LENGTH)}\n".encode(), durable=True)
        kept = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise CannotStart(f"cannot keep an API key in {file}: {fault}", code="data_not_writable") from fault
    if not kept:
        raise CannotStart(f"{file} is empty: delete it to have a new key made, or set CLEW_API_KEYS", code="no_key")
    key, colon, tenant = kept.rpartition(":")
    if not colon:
        key, tenant = kept, KEY_TENANT
    try:
        Keys.parse(f"{key}:{tenant}")
    except Invalid as fault:
        reason = fault.message.partition(": ")[2]
        raise CannotStart(
            f"{file} holds no API key ({reason}): delete it to have a new key made, or set CLEW_API_KEYS", code="no_key"
        ) from fault
    return FirstKey(key, tenant, issued)
