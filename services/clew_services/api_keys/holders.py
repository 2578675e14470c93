"""Who holds which API key: a key opens one tenant, as far as its scopes go, and signs what is done with it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple, get_args

from clew_events.errors import Invalid
from clew_events.ids import is_tenant

KeyScope = Literal["read", "write", "audit", "admin"]
"""What a key may do: see threads as they are, change them, see how they came to be so, or everything."""
SCOPES: Final[tuple[KeyScope, ...]] = get_args(KeyScope)
EVERYTHING: Final = frozenset(SCOPES)

SHORTEST: Final = 8
_KEY: Final = re.compile(r"[!-+\--~]+")  # visible ASCII without the comma


class Holder(NamedTuple):
    """What a key stands for. ``actor`` names the key in the record without giving it away."""

    tenant: str
    actor: str
    scopes: frozenset[KeyScope] = EVERYTHING


class Keys:
    """API keys and their holders: those of the configuration, and those that were issued and are not revoked.

    Only SHA-256 digests are kept, and a key is looked up by its digest: how long that takes says nothing about the
    keys there are.
    """

    def __init__(self, tenants: Mapping[str, str] | None = None) -> None:
        self._configured = {digest(key): _configured_key(key, tenant) for key, tenant in (tenants or {}).items()}
        self._holders = dict(self._configured)
        self._used: set[bytes] = set()

    @classmethod
    def parse(cls, text: str) -> Keys:
        """The keys in ``key:tenant,key:tenant``, as ``CLEW_API_KEYS`` has them. No text, no keys.

        Raises:
            Invalid: an entry cannot be one, or a key is there twice; the message names its place, not the key.
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
                raise _refusal(place, "its key is there already")
            tenants[key] = tenant
        return cls(tenants)

    def holder(self, key: str) -> Holder | None:
        """Who holds a key, if anybody does."""
        found = digest(key)
        holder = self._holders.get(found)
        if holder is not None:
            self._used.add(found)
        return holder

    def configured(self) -> Iterable[Holder]:
        """The holders of the configuration's keys, which nothing revokes."""
        return self._configured.values()

    def admit(self, issued: bytes, holder: Holder) -> None:
        """Let a key in from now on, given its digest. What the configuration says of it comes first."""
        self._holders[issued] = self._configured.get(issued, holder)

    def shut_out(self, issued: bytes) -> None:
        """Let a key in no more, given its digest, unless the configuration does."""
        if issued not in self._configured:
            self._holders.pop(issued, None)

    def take_used(self) -> set[bytes]:
        """The digests of the keys that were used since this was last asked."""
        used, self._used = self._used, set()
        return used

    def __len__(self) -> int:
        return len(self._holders)


def digest(key: str) -> bytes:
    """All that is ever kept of a key."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


def _configured_key(key: str, tenant: str) -> Holder:
    return Holder(tenant, f"key_{digest(key).hex()[:8]}")


def _refusal(place: int, reason: str) -> Invalid:
    return Invalid(f"API key {place} (CLEW_API_KEYS): {reason}", code="invalid_setting", param="api_keys")
