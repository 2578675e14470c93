"""Clew over NATS: commands and queries by request and reply."""

from __future__ import annotations

from clew_services.nats_api.services import serve_commands, serve_queries

__all__ = ["serve_commands", "serve_queries"]
