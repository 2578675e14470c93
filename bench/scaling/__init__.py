"""A thousand threads and a million: what the same costs with both, what memory they take, and how long a start."""

from bench.scaling.all import SIZES, Scaled, scaled

__all__ = ["SIZES", "Scaled", "scaled"]
