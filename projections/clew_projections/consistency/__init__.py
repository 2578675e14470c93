"""``clew prove``: views and index compared with the fold of the log, explained and repaired."""
