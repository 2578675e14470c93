"""Checkpoints: Merkle roots of the log, signed at an interval, by which later changes of history are detected."""
