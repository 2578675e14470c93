"""What a thread's commits say about its past: as of, diff, blame, what if. Pure."""
