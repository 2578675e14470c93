"""JetStream as Clew uses it: requests over one subscription, messages, reads, and calls."""
