"""What keeps the index of a machine current: it follows the log and writes the index file."""
