"""Running Clew's services: in one process, or all of them under one command that brings back what dies."""
