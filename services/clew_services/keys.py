"""Who holds which API key: a key opens one tenant, and the commits made with it are signed with its fingerprint."""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

from clew_events.errors import Invalid
from clew_events.ids import is_tenant

SHORTEST: Final = 8
_KEY: Final = re.compile(r"[!-+\--~]+")  # visible ASCII without the comma


class Holder(NamedTuple):
    """What a key stands for. ``actor`` names the key in the record without giving it away."""

    tenant: str
    actor: str


class Keys:
    """API keys and their holders.

    Only SHA-256 digests are kept, and a key is looked up by its digest: how long that takes says nothing about the
    keys there are.
    """

    def __init__(self, tenants: dict[str, str]) -> None:
        self._holders = {_digest(key): _holder(key, tenant) for key, tenant in tenants.items()}

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
                raise _refused(place, "it is not key:tenant")
            if len(key) < SHORTEST or _KEY.fullmatch(key) is None:
                raise _refused(place, f"a key is {SHORTEST} or more visible ASCII characters")
            if not is_tenant(tenant):
                raise _refused(place, "a tenant is 1 to 64 of a-z, 0-9, _ and -, not beginning with _ or -")
            if key in tenants:
                raise _refused(place, "its key is there already")
            tenants[key] = tenant
        return cls(tenants)

    def holder(self, key: str) -> Holder | None:
        """Who holds a key, if anybody does."""
        return self._holders.get(_digest(key))

    def __len__(self) -> int:
        return len(self._holders)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


def _holder(key: str, tenant: str) -> Holder:
    return Holder(tenant, f"key_{_digest(key).hex()[:8]}")


def _refused(place: int, reason: str) -> Invalid:
    return Invalid(f"API key {place} (CLEW_API_KEYS): {reason}", code="invalid_setting", param="api_keys")
