"""From a query to its answer: the present, lists, the past, histories and the feed."""
