"""The current state of threads and messages: views plus the tail of the log."""
