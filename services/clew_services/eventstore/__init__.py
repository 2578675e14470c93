"""The event store: appending to the log, and the streams of a deployment, made once and then verified."""
