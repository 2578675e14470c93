"""A log as long as you like, made up from a seed: ``python -m bench.generating --data DIR``.

A million commits over a hundred thousand threads of several tenants take about a minute. Every chain is whole, every
message is where its id says, times never go backwards, and threads overlap as they do in life, so that everything that
reads a log can be tried on it. The same plan always gives the same bytes at the same places.
"""

from __future__ import annotations

from bench.generating.planning import Plan
from bench.generating.writing import Generated, generate, generated

__all__ = ["Generated", "Plan", "generate", "generated"]
