"""What several tests need: real servers, deployments on them, and a whole service in a child process."""
