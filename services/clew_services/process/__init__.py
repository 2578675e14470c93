"""Processes: what ``clew up`` and ``clew serve`` start, supervise, stop and report on."""
