"""Audit packs: a part of the log, or all of it, in one file that can be read, replayed and verified without a server.

A pack is a tar archive compressed with zstd, frame by frame, so that ordinary tools unpack it (``tar --zstd -xf``) and
any member can be read without those before it.
"""
