"""A thread's commits as the log holds them, read from any point in either order."""
