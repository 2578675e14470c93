"""Who says and who answers: deciding, the log, the applications around them, and the command line."""
