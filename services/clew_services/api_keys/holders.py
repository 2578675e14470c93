"""The holders of API keys: a key gives access to one tenant, within its scopes, and is recorded as the actor."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple, get_args

from clew_events.admin_objects import KeyScope
from clew_events.errors import Invalid
from clew_events.ids import is_tenant

SCOPES: Final[tuple[KeyScope, ...]] = get_args(KeyScope)
EVERYTHING: Final = frozenset(SCOPES)

ID_LENGTH: Final = 16
"""Hex digits of a key's digest that are its id."""
SHORTEST: Final = 16
"""The fewest characters of a key: what is shorter can be guessed."""
REMEMBERED: Final = 1024
"""Headers of which it is known which key they show. When there are more, all are forgotten."""
_KEY: Final = re.compile(r"[!-+\--~]+")  # visible ASCII without the comma


class Holder(NamedTuple):
    """The tenant, actor and scopes of a key. Commits name a key by ``actor`` or ``key``, which do not disclose it."""

    tenant: str
    actor: str
    scopes: frozenset[KeyScope] = EVERYTHING
    key: str = ""

    @property
    def by(self) -> str:
        """What is recorded of a caller with this key: ``http:`` and the key's id."""
        return f"http:{self.key}"


class Keys:
    """API keys and their holders: configured keys, and issued keys that are not revoked.

    Only SHA-256 digests are kept, of keys and of headers that show them, and a key is looked up by its digest, so the
    time of a lookup discloses nothing about the valid keys.
    """

    def __init__(self, tenants: Mapping[str, str] | None = None) -> None:
        self._configured = {digest(key): _configured_key(key, tenant) for key, tenant in (tenants or {}).items()}
        self._holders = dict(self._configured)
        self._by_id = {holder.key: key_digest for key_digest, holder in self._configured.items()}
        self._used: set[bytes] = set()
        self._shown: dict[bytes, bytes] = {}
        self.sessions: dict[str, tuple[str, datetime]] = {}
        """What is known of sessions, by the names of their records: the token's SHA-256, and until when it is good."""

    @classmethod
    def parse(cls, text: str) -> Keys:
        """Parse ``key:tenant,key:tenant``, the format of ``CLEW_API_KEYS``; an empty text has no keys.

        Raises:
            Invalid: an entry is invalid, or a key is repeated; the message names the entry's number, not the key.
        """
        tenants: dict[str, str] = {}
        for place, entry in enumerate(text.split(","), start=1) if text.strip() else ():
            key, colon, tenant = entry.strip().rpartition(":")
            if not colon:
                raise _refusal(place, "it is not key:tenant")
            if len(key) < SHORTEST or _KEY.fullmatch(key) is None:
                raise _refusal(place, f"a key is {SHORTEST} or more visible ASCII characters")
            if not is_tenant(tenant):
                raise _refusal(place, "a tenant is 1 to 64 of a-z, 0-9, _ and -, not beginning with _ or -")
            if key in tenants:
                raise _refusal(place, "its key is repeated")
            tenants[key] = tenant
        return cls(tenants)

    def holder(self, key: str, shown: bytes | None = None) -> Holder | None:
        """The holder of a key, or ``None`` if the key is not valid.

        By which header a valid key was ``shown`` is remembered for :meth:`recall`.
        """
        key_digest = digest(key)
        holder = self._holders.get(key_digest)
        if holder is not None:
            self._used.add(key_digest)
            if shown is not None:
                if len(self._shown) >= REMEMBERED:
                    self._shown.clear()
                self._shown[hashlib.sha256(shown).digest()] = key_digest
        return holder

    def recall(self, shown: bytes) -> Holder | None:
        """The holder of a key that was shown before by the same header, if it is still valid."""
        key_digest = self._shown.get(hashlib.sha256(shown).digest())
        if key_digest is None or (holder := self._holders.get(key_digest)) is None:
            return None
        self._used.add(key_digest)
        return holder

    def holder_of(self, key_id: str) -> Holder | None:
        """The holder of the key with an id, or ``None`` if there is none, or it was revoked. The key counts as used."""
        key_digest = self._by_id.get(key_id)
        if key_digest is None:
            return None
        self._used.add(key_digest)
        return self._holders[key_digest]

    def configured(self) -> Iterable[Holder]:
        """The holders of the configured keys, which cannot be revoked."""
        return self._configured.values()

    def admit(self, issued: bytes, holder: Holder) -> None:
        """Accept a key from now on, given its digest. A configured holder takes precedence."""
        self._holders[issued] = self._configured.get(issued, holder)
        self._by_id[self._holders[issued].key] = issued

    def shut_out(self, issued: bytes) -> None:
        """Reject a key from now on, given its digest, unless it is configured."""
        if issued not in self._configured and (holder := self._holders.pop(issued, None)) is not None:
            self._by_id.pop(holder.key, None)

    def take_used(self) -> set[bytes]:
        """The digests of the keys that were used since the last call."""
        used, self._used = self._used, set()
        return used

    def __len__(self) -> int:
        return len(self._holders)


def digest(key: str) -> bytes:
    """The SHA-256 of a key, which is all that is kept of it."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


def _configured_key(key: str, tenant: str) -> Holder:
    key_id = digest(key).hex()
    return Holder(tenant, f"key_{key_id[:8]}", key=key_id[:ID_LENGTH])


def _refusal(place: int, reason: str) -> Invalid:
    return Invalid(f"API key {place} (CLEW_API_KEYS): {reason}", code="invalid_setting", param="api_keys")
