"""The explorer: a page in the browser to find threads, read their past, see who changed what, and verify the log."""

from __future__ import annotations

from clew_services.http.explorer.page_files import POLICY, explorer_routes

__all__ = ["POLICY", "explorer_routes"]
