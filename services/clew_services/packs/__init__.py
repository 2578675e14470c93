"""Audit packs: export from a deployment, import into another, queries and verification without a server."""
