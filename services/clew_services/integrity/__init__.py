"""Background verification of the log, against its own chains and the newest signed checkpoint."""
