"""The contenders, one a module: set up, start, and what to ask.

Each has ``entries``: names with functions that start them; see :data:`bench.peers.contender.Enter`.
"""
