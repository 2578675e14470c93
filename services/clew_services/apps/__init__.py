"""Clew over NATS: commands and queries by request and reply, and the durable inbox."""

from __future__ import annotations

from clew_services.apps.commands import serve_commands
from clew_services.apps.inbox import serve_inbox
from clew_services.apps.queries import serve_queries

__all__ = ["serve_commands", "serve_inbox", "serve_queries"]
