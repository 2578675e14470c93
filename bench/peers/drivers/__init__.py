"""Programs that drive a library or a server from its own environment: orders come on stdin, results go to stdout.

They import nothing but the standard library and what they drive, since the rivals' environments hold nothing else.
"""
