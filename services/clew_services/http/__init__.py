"""Clew over HTTP: OpenAI's Threads and Messages API."""
