"""The event store: appending to the log, and a deployment's streams, created once and verified at every start."""
