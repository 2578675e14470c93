"""From a command to its commit: the thread known, the rules asked, the log appended to, the caller told."""
