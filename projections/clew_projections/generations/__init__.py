"""Generations: blue/green builds of the buckets of views, of which one is live.

A generation is two buckets and a durable consumer for each shard, all made by one fold. A record
(:mod:`~clew_projections.generations.record`) that every process follows says which generation is live. So a generation
can be built while another serves, compared with the log, and switched to or back from without an interruption.
"""
