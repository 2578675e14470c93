"""Rebuild of the buckets: a new generation is built from the log beside the live one, and becomes live.

Services continue meanwhile: answers are read from the live generation and from the log, so they are correct before,
during and after the switch, however far the live generation is filled.
"""
