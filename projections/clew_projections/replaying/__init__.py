"""Replaying: what follows from a thread's commits about its past. Pure: the same commits always give the same answer.

Everything here takes commits in order, wherever they come from: a log, or a file with no server in reach.
"""
