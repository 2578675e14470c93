"""Clew over NATS: commands and queries by request and reply."""

from __future__ import annotations

from clew_services.nats_api.command_service import serve_commands
from clew_services.nats_api.query_service import serve_queries

__all__ = ["serve_commands", "serve_queries"]
