"""API keys: who holds which, what it opens, and how every process comes to know of a change at once."""

from __future__ import annotations

from clew_services.api_keys.holders import SCOPES, Holder, Keys, KeyScope

__all__ = ["SCOPES", "Holder", "KeyScope", "Keys"]
