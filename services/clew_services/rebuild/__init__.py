"""Rebuilding: a new generation of buckets made from the log beside the live one, and switched to.

Nothing of this is in anybody's way: answers come from whichever generation is live and from the log, so they are right
before, while and after the live one is another, and however far it is filled.
"""
