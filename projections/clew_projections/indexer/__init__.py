"""The indexer: follows the log and keeps the index file of a machine current."""
