"""The status of a deployment: its size, its lag, and the state of what is derived from the log."""
