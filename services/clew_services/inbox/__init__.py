"""The inbox: durable commands on ``clew.inbox.<tenant>.<command>``, each carried out once, when a handler runs.

Commands of one thread are carried out in the order in which they were published, however many processes serve the
inbox. Four rules ensure that, even for a process that is suspended in the middle and resumes later:

* One process at a time has the lease and consumes commands; the others stand by
  (:mod:`clew_services.coordination.lease`).
* Each holder of the lease has a consumer of its own, which delivers all unsettled messages in order, and numbers its
  deliveries from 1. Consumers of earlier holders are deleted: they deliver nothing more, and their acknowledgements
  have no effect (:mod:`.term`). A gap in the delivery numbers ends the term (:mod:`.inbox_consumer`).
* The next command of a thread begins once the server has confirmed the acknowledgement of the previous one. Two
  unconfirmed acknowledgements of a message end the term (:mod:`.attempt`).
* Before each commit, after the state was read, the lease is checked. The commit's guard is that state, so any commit
  of a successor makes it fail.

A poison message, a command that kills its process, does not do so for ever: commands that were delivered before and
not settled are tried alone, and rejected after some more deaths (:mod:`.poison`).
"""

from __future__ import annotations

from clew_services.inbox.inbox_service import serve_inbox

__all__ = ["serve_inbox"]
