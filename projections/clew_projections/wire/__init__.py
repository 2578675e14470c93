"""NATS on the wire: nats-py's client where it costs little already, and a shorter way for what Clew does most.

Everything in here leans on internals of nats-py, which are named in :mod:`clew_projections.wire.client` and held there.
"""
