"""Signed checkpoints: what the log was, said at an interval, so that nobody can say later that it was otherwise."""
