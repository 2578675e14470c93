"""Threads from elsewhere: what other systems give out, mapped to threads of Clew and written into the log."""
