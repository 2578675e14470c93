"""The bucket of issued keys, ``clew_keys_v1``."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from clew_events import ids
from clew_events.admin_objects import KeyScope
from clew_events.backoff import delays
from clew_events.codec import UNREADABLE
from clew_events.error_texts import quote_text
from clew_events.errors import Invalid, NotFound, Unavailable
from clew_events.ids import Tenant
from clew_events.subjects import LIVE
from clew_projections.kv.bucket import Bucket, LostRace, Value
from clew_projections.nats.jetstream import JetStream
from clew_services.api_keys.holders import EVERYTHING, ID_LENGTH, SCOPES, Holder, digest

LENGTH: Final = 40
"""Letters and digits of a key after ``clew_``: 238 random bits."""
_ID: Final = re.compile(ids.KEY_ID_PATTERN)
_NAME: Final = re.compile(ids.KEY_NAME_PATTERN)
_LOG: Final = logging.getLogger("clew.keys")


class IssuedKey(Struct, frozen=True, kw_only=True):
    """The record of a key. ``last_used_at`` is a few seconds late, and written at most once a minute."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    tenant: Tenant
    name: Annotated[str, Meta(pattern=ids.KEY_NAME_PATTERN)]
    scopes: Annotated[tuple[KeyScope, ...], Meta(min_length=1)]
    created_at: datetime
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    @property
    def id(self) -> str:
        """The key's id, which does not disclose it: the first 16 hex digits of its digest."""
        return self.sha256[:ID_LENGTH]

    @property
    def digest(self) -> bytes:
        """The digest by which the key is looked up."""
        return bytes.fromhex(self.sha256)

    @property
    def holder(self) -> Holder:
        """The key's holder while it is not revoked."""
        scopes = EVERYTHING if "admin" in self.scopes else frozenset(self.scopes)
        return Holder(self.tenant, f"key:{self.name}/{self.id}", scopes, self.id)


def issue_key(tenant: str, name: str, scopes: Iterable[KeyScope]) -> tuple[str, IssuedKey]:
    """Generate a key and its record.

    Raises:
        Invalid: the tenant, the name or the scopes are invalid.
    """
    wanted = frozenset(scopes)
    if not ids.is_tenant(tenant):
        raise Invalid("a tenant is 1 to 64 of a-z, 0-9, _ and -, not beginning with _ or -", param="tenant")
    if _NAME.fullmatch(name) is None:
        raise Invalid(f"a key's name is {ids.KEY_NAME_FORM}", param="name")
    if not wanted or not wanted <= EVERYTHING:
        raise Invalid(f"a key has one or more of the scopes {', '.join(SCOPES)}", param="scopes")
    key = ids.random_id("clew_", LENGTH)
    return key, IssuedKey(
        sha256=digest(key).hex(),
        tenant=tenant,
        name=name,
        scopes=tuple(scope for scope in SCOPES if scope in wanted),
        created_at=now(),
    )


def read(key_id: str, body: bytes) -> IssuedKey | None:
    """Decode a key's record; ``None`` if it was deleted or cannot be read: the key is then not valid."""
    if not body:
        return None
    try:
        issued = _DECODER.decode(body)
    except UNREADABLE as fault:
        _LOG.warning("the record of the API key %s cannot be read, so the key is not valid: %s", key_id, fault)
        return None
    if issued.id != key_id:
        _LOG.warning("the record of the API key %s is that of another key, so the key is not valid", key_id)
        return None
    return issued


def is_id(text: str) -> bool:
    """Whether a text has the form of a key id."""
    return _ID.fullmatch(text) is not None


def id_of(key_digest: bytes) -> str:
    """The id of the key with a digest."""
    return key_digest.hex()[:ID_LENGTH]


def now() -> datetime:
    """The current time, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


_DECODER: Final = msgspec.json.Decoder(IssuedKey)


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

    async def revoke(self, key_id: str, tenant: str | None = None) -> IssuedKey:
        """Revoke a key from now on; only one of a tenant, if that is given. A key that is revoked already is unchanged.

        Raises:
            NotFound: no such key was issued.
        """

        def end(issued: IssuedKey) -> dict[str, datetime] | None:
            kept = issued.revoked_at is not None or tenant not in {None, issued.tenant}
            return None if kept else {"revoked_at": now()}

        revoked = await self._change(key_id, end) if is_id(key_id) else None
        if revoked is None or tenant not in {None, revoked.tenant}:
            named = quote_text(key_id, 40)
            raise NotFound(f"no API key {named} was issued here: see 'clew keys list'", code="key_not_found")
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
        return [key for key in await self._bucket.keys("*") if is_id(key)]

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
