"""The write side: decide, limits, handler, idempotency, result and cache."""
