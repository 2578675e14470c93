"""Which tenants exist: a list beside the API keys, which every serving process follows.

Where there is no list, every tenant exists. ``clew up`` makes one at its first start, and ``clew tenants add`` does on
any server. Issuing an API key adds its tenant, so a key never opens a tenant that does not exist. The tenant
``default`` always exists.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection
from typing import Final

import msgspec
from msgspec import Struct
from nats.aio.client import Client

from clew_events import ids
from clew_events.backoff import delays
from clew_events.codec import UNREADABLE
from clew_events.errors import Corrupt, Invalid, NotFound, Rejected, Unavailable
from clew_events.subjects import EVENTS, event_stream
from clew_projections.kv.bucket import Bucket, LostRace
from clew_projections.kv.watcher import KvWatcher
from clew_projections.nats.jetstream import JetStream
from clew_services.api_keys.key_bucket import KEYS, LIVE_KEYS, KeyBucket

DEFAULT: Final = "default"
"""The tenant that always exists."""
KEY: Final = "tenants"
"""The key of the list in the bucket ``clew_keys_v1``; the ids of API keys have another form."""
_TRIES: Final = 10
_LOG: Final = logging.getLogger("clew.tenants")


class _Record(Struct, frozen=True):
    """The list as the bucket keeps it: a stored format."""

    tenants: tuple[ids.Tenant, ...] = ()


class TenantList:
    """The stored list. All methods raise ``Unavailable`` if JetStream does not answer."""

    def __init__(self, js: JetStream) -> None:
        self._js = js
        self._bucket = Bucket(js, KEYS)

    async def read(self) -> frozenset[str] | None:
        """The tenants that exist, read from the leader; ``None`` if every tenant does.

        Raises:
            Corrupt: the list cannot be read.
        """
        listed, _ = await self._read()
        return listed

    async def create(self, tenants: Collection[str]) -> None:
        """Make the list if there is none, with the tenants of all API keys that are not revoked, and add these."""
        if await self.read() is None:
            tenants = {*tenants, *(key.tenant for key in await KeyBucket(self._js).all() if key.revoked_at is None)}
        await self._change(lambda listed: listed | set(tenants))

    async def add(self, tenant: str) -> bool:
        """Add a tenant; whether it is new. Makes the list if there is none.

        Raises:
            Invalid: it cannot be a tenant.
        """
        if not ids.is_tenant(tenant):
            raise Invalid("a tenant is 1 to 64 of a-z, 0-9, _ and -, not beginning with _ or -", param="tenant")
        await self.create(())
        return await self._change(lambda listed: listed | {tenant})

    async def admit(self, tenants: Collection[str]) -> None:
        """Add tenants that something else names, if there is a list."""
        if await self.read() is not None:
            await self._change(lambda listed: listed | set(tenants))

    async def remove(self, tenant: str, shards: int) -> None:
        """Remove a tenant that has no threads and no API keys.

        Raises:
            NotFound: it is not on the list.
            Rejected: it has threads, of which deleted ones count too, or API keys, or is the default.
        """
        listed = await self.read()
        if tenant == DEFAULT:
            raise Rejected("the tenant 'default' always exists", code="tenant_in_use")
        if listed is None or tenant not in listed:
            raise no_tenant(tenant)
        if any(key.tenant == tenant and key.revoked_at is None for key in await KeyBucket(self._js).all()):
            raise Rejected(
                f"tenant '{tenant}' has API keys: revoke them first, see 'clew keys list --tenant {tenant}'",
                code="tenant_in_use",
            )
        for shard in range(shards):
            found, _ = await self._js.after(event_stream(shard), f"{EVENTS}.{shard:02d}.{tenant}.*", 1, limit=1)
            if found:
                raise Rejected(
                    f"tenant '{tenant}' has a history, which is kept: it can be removed only while it has none",
                    code="tenant_in_use",
                )
        await self._change(lambda listed: listed - {tenant})

    async def _read(self) -> tuple[frozenset[str] | None, int]:
        value = await self._bucket.latest(KEY)
        if value is None:
            return None, 0
        try:
            return frozenset(_DECODER.decode(value.body).tenants), value.revision
        except UNREADABLE as fault:
            raise Corrupt(f"the list of tenants cannot be read: {fault}") from fault

    async def _change(self, change: Callable[[frozenset[str]], frozenset[str]]) -> bool:
        pauses = delays()
        for _ in range(_TRIES):
            before, revision = await self._read()
            after = change(before or frozenset())
            if after == before:
                return False
            with contextlib.suppress(LostRace):
                await self._bucket.put(KEY, _ENCODE(_Record(tuple(sorted(after)))), revision)
                return True
            await asyncio.sleep(next(pauses))
        raise Unavailable("other processes keep changing the list of tenants", code="tenants_contended")


class Tenants:
    """The list as this process knows it. Until it is followed, every tenant exists."""

    def __init__(self, stored: TenantList | None = None) -> None:
        self._stored = stored
        self._known: frozenset[str] | None = None

    async def check(self, tenant: str) -> None:
        """Pass if a tenant exists. Asks the bucket only about one that is not known yet.

        Raises:
            NotFound: it does not exist.
            Unavailable: it is not known, and the bucket does not answer.
        """
        if self._is_known(tenant):
            return
        await self.read()
        if not self._is_known(tenant):
            raise no_tenant(tenant)

    async def read(self) -> None:
        """Read the list.

        Raises:
            Unavailable: the bucket does not answer.
        """
        if self._stored is not None:
            self._known = await self._stored.read()

    @contextlib.asynccontextmanager
    async def follow(self, nc: Client, reconnected: list[Callable[[], None]]) -> AsyncIterator[None]:
        """Keep to the list for the duration of the block, which begins when it was read."""

        async def read_key(key: str) -> None:
            if key == KEY:
                await self.read()

        watcher = KvWatcher(read_key, self.read, name="the list of tenants", log=_LOG)
        async with watcher.watch(nc, LIVE_KEYS, reconnected):
            await watcher.current.wait()
            yield

    def _is_known(self, tenant: str) -> bool:
        return self._known is None or tenant in self._known or tenant == DEFAULT


EVERY: Final = Tenants()
"""Every tenant exists."""


def no_tenant(tenant: str) -> NotFound:
    """The error about a tenant that does not exist."""
    return NotFound(
        f"There is no tenant '{tenant}': an operator adds it with 'clew tenants add {tenant}'.",
        code="tenant_not_found",
    )


_ENCODE: Final = msgspec.json.Encoder().encode
_DECODER: Final = msgspec.json.Decoder(_Record)
