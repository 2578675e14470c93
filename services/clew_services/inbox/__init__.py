"""The inbox: durable commands on ``clew.inbox.<tenant>.<command>``, each carried out once.

Commands of one thread are carried out in the order in which they were published, however many processes serve the
inbox. Four rules ensure that, even for a process that is suspended at any point and resumes later:

* One process at a time has the lease and consumes commands; the others stand by (:mod:`clew_services.lease`).
* The holder of the lease has a consumer of its own for its term, which delivers all unsettled commands in order and
  counts its deliveries from 1. The consumers of earlier terms are deleted: their holders receive nothing more, and
  their acknowledgements have no effect (:mod:`.term`). A delivery that is missing leaves a gap in the count, which ends
  the term (:mod:`.inbox_consumer`).
* The next command of a thread begins when the server has confirmed the acknowledgement of the one before. If two
  acknowledgements of a message are not confirmed, the term ends (:mod:`.attempt`).
* Before each commit, after the state for the decision was read, the lease is checked. The guard of the commit is older
  than the check, so it fails if a later holder has written meanwhile.

A command that kills its process is not retried without end: a command that was delivered and not settled is tried
alone, and rejected after some more deaths (:mod:`.poison`).
"""

from __future__ import annotations

from clew_services.inbox.inbox_service import serve_inbox

__all__ = ["serve_inbox"]
