"""What a command does to a thread, and what it may not do. Pure."""
