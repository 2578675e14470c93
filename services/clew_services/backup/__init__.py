"""Backup and restore of all streams that cannot be derived, by JetStream's own snapshots.

A backup is a folder: a file for each stream, and a manifest that is written last. Sequences, times, message ids and
bytes are restored exactly, so histories, hashes, cursors and signed checkpoints stay valid. Views and the index are not
included: they are rebuilt from the log.
"""
