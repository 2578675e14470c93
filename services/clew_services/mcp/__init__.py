"""Clew as tools of the Model Context Protocol, for models that look into a history."""
