"""The bucket of issued keys, ``clew_keys_v1``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec.structs import replace

from clew_events.backoff import delays
from clew_events.errors import NotFound, Unavailable
from clew_events.subjects import LIVE
from clew_projections.kv.bucket import Bucket, LostRace, Value
from clew_projections.nats.jetstream import JetStream
from clew_services.api_keys.holders import KeyScope
from clew_services.api_keys.issued_key import IssuedKey, is_id, issue_key, now, read

KEYS: Final = "clew_keys_v1"
LIVE_KEYS: Final = f"{LIVE}.keys"
"""The subjects on which the server publishes which key has changed: ``clew.live.keys.<id>``."""
COARSE: Final = timedelta(minutes=1)
"""The age of a recorded last use after which a later use is recorded."""
_TRIES: Final = 10
_ENCODE: Final = msgspec.json.Encoder().encode


class KeyBucket:
    """Issues, revokes and lists keys. All methods raise ``Unavailable`` if JetStream does not answer."""

    def __init__(self, js: JetStream) -> None:
        self._bucket = Bucket(js, KEYS)

    async def create(self, tenant: str, name: str, scopes: Iterable[KeyScope]) -> tuple[str, IssuedKey]:
        """Issue a key; the key itself, which is not stored, and its record.

        Raises:
            Invalid: the tenant, the name or the scopes are invalid.
        """
        key, issued = issue_key(tenant, name, scopes)
        await self._bucket.put(issued.id, _ENCODE(issued), 0)
        return key, issued

    async def revoke(self, key_id: str) -> IssuedKey:
        """Revoke a key from now on. A key that is revoked already is unchanged.

        Raises:
            NotFound: no key of that id was issued.
        """

        def end(issued: IssuedKey) -> dict[str, datetime] | None:
            return None if issued.revoked_at is not None else {"revoked_at": now()}

        revoked = await self._change(key_id, end) if is_id(key_id) else None
        if revoked is None:
            raise NotFound(f"no API key {key_id} was issued here: see 'clew keys list'", code="key_not_found")
        return revoked

    async def note_use(self, key_id: str, at: datetime) -> None:
        """Record that a key was used, unless a use within the previous minute is recorded."""

        def later(issued: IssuedKey) -> dict[str, datetime] | None:
            recorded = issued.last_used_at
            if recorded is not None and at - recorded < COARSE:
                return None
            # Uses are recorded late, and a use cannot be later than the revocation.
            return {"last_used_at": min(at, issued.revoked_at or at)}

        await self._change(key_id, later)

    async def all(self) -> list[IssuedKey]:
        """All keys that were ever issued, by tenant, name and age."""
        keys = (read(key_id, value.body) for key_id, value in (await self.values(await self.ids())).items())
        return sorted(filter(None, keys), key=lambda key: (key.tenant, key.name, key.created_at, key.id))

    async def ids(self) -> list[str]:
        """The ids of all records, read from the leader."""
        return await self._bucket.keys("*")

    async def values(self, key_ids: Iterable[str]) -> dict[str, Value]:
        """The records with the given ids, read from the leader."""
        return await self._bucket.latest_of(key_ids)

    async def value(self, key_id: str) -> Value | None:
        """The record with an id, read from the leader."""
        return await self._bucket.latest(key_id)

    async def _change(self, key_id: str, change: Callable[[IssuedKey], dict[str, datetime] | None]) -> IssuedKey | None:
        pauses = delays()
        for _ in range(_TRIES):
            value = await self.value(key_id)
            issued = read(key_id, value.body) if value is not None else None
            if value is None or issued is None or (fields := change(issued)) is None:
                return issued
            changed = replace(issued, **fields)
            try:
                await self._bucket.put(key_id, _ENCODE(changed), value.revision)
            except LostRace:
                await asyncio.sleep(next(pauses))
            else:
                return changed
        raise Unavailable(f"other processes keep changing the API key {key_id}", code="key_contended")
