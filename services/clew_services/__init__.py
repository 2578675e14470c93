"""The write side, the services over HTTP and NATS, the command line, and everything that runs and operates them."""
