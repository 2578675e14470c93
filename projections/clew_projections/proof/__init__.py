"""Proof that the log is what it was: chains walked link by link, and heads that a signed checkpoint vouches for."""
