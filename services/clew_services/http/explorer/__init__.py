"""The explorer: a page on which people find threads, go back in time, see who changed what, and check the record."""

from __future__ import annotations

from clew_services.http.explorer.page_files import POLICY, explorer_routes

__all__ = ["POLICY", "explorer_routes"]
