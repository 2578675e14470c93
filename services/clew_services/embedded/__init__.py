"""A real NATS server as a child process: its program, configuration, data folder and life."""
