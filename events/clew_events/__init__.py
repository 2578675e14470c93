"""Events, commands, queries and replies, their formats, and a client that sends and receives them."""
