"""The read side: from a query to its answer."""
