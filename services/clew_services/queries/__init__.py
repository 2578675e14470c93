"""The read side: queries and their answers."""
