"""The embedded NATS server, a child process: its program, configuration, data folder and lifecycle."""
