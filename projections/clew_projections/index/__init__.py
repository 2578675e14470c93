"""The index: threads by time, metadata and words, in one SQLite file that can be rebuilt from the log.

A file is written by one :class:`IndexWriter` and read by any number of :class:`IndexReader`, here or in other
processes. ``Index`` reads for an event loop.
"""

from __future__ import annotations

from clew_projections.index.database import open_for_reading, open_for_writing
from clew_projections.index.index import Index
from clew_projections.index.index_reader import IndexReader
from clew_projections.index.list_page import WrittenList
from clew_projections.index.tables import INDEX_FORMAT
from clew_projections.index.writer import IndexWriter

__all__ = ["INDEX_FORMAT", "Index", "IndexReader", "IndexWriter", "WrittenList", "open_for_reading", "open_for_writing"]
