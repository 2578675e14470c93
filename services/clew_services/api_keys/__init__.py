"""API keys: their holders and scopes, the bucket of issued keys, and how every process follows its changes."""

from __future__ import annotations

from clew_events.admin_objects import KeyScope
from clew_services.api_keys.holders import SCOPES, Holder, Keys

__all__ = ["SCOPES", "Holder", "KeyScope", "Keys"]
