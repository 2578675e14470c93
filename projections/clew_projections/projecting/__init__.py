"""From the log to the buckets: what projectors do."""
