"""What can be said: events, commands, queries, their wire formats, and a client that speaks them."""
