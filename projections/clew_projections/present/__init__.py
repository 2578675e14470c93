"""The present: threads and messages as of the latest acknowledged commit, wherever they are read from."""
