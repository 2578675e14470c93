"""Erasing: contents are taken out of the log and of everything that follows from it, and that it happened is proved."""
