"""The fast path around nats-py: client, parser, headers, request multiplexer, JetStream calls and reads."""
