"""Audit packs of a deployment: exported from it, imported into another, and asked and checked with no server at all."""
