"""Threads' histories as the log holds them, read from anywhere and in either order."""
