"""The house itself, measured: how many rooms it has, how they are named, and how many a request passes through."""
