"""The record of an issued key in the bucket, which does not contain the key itself. A stored format."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from clew_events import ids
from clew_events.codec import UNREADABLE
from clew_events.errors import Invalid
from clew_events.ids import Tenant
from clew_services.api_keys.holders import EVERYTHING, SCOPES, Holder, KeyScope, digest

LENGTH: Final = 40
"""Letters and digits of a key after ``clew_``: 238 random bits."""
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$(?!\n)"
_ID_LENGTH: Final = 16
_ID: Final = re.compile("[0-9a-f]{16}")
_NAME: Final = re.compile(NAME_PATTERN)
_LOG: Final = logging.getLogger("clew.keys")


class IssuedKey(Struct, frozen=True, kw_only=True):
    """The record of a key. ``last_used_at`` is a few seconds late, and written at most once a minute."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    tenant: Tenant
    name: Annotated[str, Meta(pattern=NAME_PATTERN)]
    scopes: Annotated[tuple[KeyScope, ...], Meta(min_length=1)]
    created_at: datetime
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    @property
    def id(self) -> str:
        """The key's id, which does not disclose it: the first 16 hex digits of its digest."""
        return self.sha256[:_ID_LENGTH]

    @property
    def digest(self) -> bytes:
        """The digest by which the key is looked up."""
        return bytes.fromhex(self.sha256)

    @property
    def holder(self) -> Holder:
        """The key's holder while it is not revoked."""
        scopes = EVERYTHING if "admin" in self.scopes else frozenset(self.scopes)
        return Holder(self.tenant, f"key:{self.name}/{self.id}", scopes)


def issue_key(tenant: str, name: str, scopes: Iterable[KeyScope]) -> tuple[str, IssuedKey]:
    """Generate a key and its record.

    Raises:
        Invalid: the tenant, the name or the scopes are invalid.
    """
    wanted = frozenset(scopes)
    if not ids.is_tenant(tenant):
        raise Invalid("a tenant is 1 to 64 of a-z, 0-9, _ and -, not beginning with _ or -", param="tenant")
    if _NAME.fullmatch(name) is None:
        raise Invalid(
            "a key's name is 1 to 64 letters, digits, '.', '_', '@' and '-', beginning with a letter or digit",
            param="name",
        )
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
    return key_digest.hex()[:_ID_LENGTH]


def now() -> datetime:
    """The current time, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


_DECODER: Final = msgspec.json.Decoder(IssuedKey)
