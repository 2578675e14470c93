"""Backups: everything that does not follow from something else, by JetStream's own snapshots, and back again.

A backup is a folder: a file for each stream, and a manifest that is written last. Sequences, times, message ids and
bytes are exactly what they were, so histories, hashes, cursors and signed checkpoints hold on as before. Views and the
index are not in it: they are made again from the log.
"""
