"""The log verified in the background, for ever: against its own chains, and against the newest signed checkpoint."""
