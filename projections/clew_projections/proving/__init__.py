"""Proof of no drift: views compared with the fold of the log, and where they differ explained and repaired."""
