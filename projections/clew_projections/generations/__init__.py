"""Generations: the buckets of views, built from the log beside each other, of which one is live.

A generation is three buckets and a durable consumer for each shard, all made by one fold. Which one is live is a record
of its own (:mod:`~clew_projections.generations.record`) that every process follows, so a generation can be built while
another serves, compared with the log, and switched to, or back from, without anybody noticing.
"""
