"""The projector: it consumes a shard of the log and writes the views."""
