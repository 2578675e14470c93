"""Audit of a thread's past from its commits: as of, diff, blame, what if. Pure."""
