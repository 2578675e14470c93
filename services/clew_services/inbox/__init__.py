"""The inbox: durable commands on ``clew.inbox.<tenant>.<command>``, each carried out once, when a handler runs.

Commands of one thread are carried out in the order in which they were published, however many processes serve the
inbox. Four rules ensure that, even for a process that is suspended in the middle and resumes later:

* One process at a time has the lease and is handed commands; the others stand by
  (:mod:`clew_services.lease`).
* Whoever gets the lease has a consumer of its own, which delivers everything not settled, in order, and counts its
  deliveries from 1. Those of earlier holders are deleted, so they are handed nothing more, and what they acknowledge
  counts for nothing (:mod:`.term`). A message that went elsewhere leaves a gap, and the term is over
  (:mod:`.inbox_consumer`).
* The next command of a thread begins when the server has confirmed that the one before it is gone for good. Two
  acknowledgements of a message that are not confirmed end the term (:mod:`.attempt`).
* Before each commit, after the state that it was decided on was read, the lease is looked at. The commit's guard holds
  from that reading on, so whatever a successor has done in between refuses it.

A command that kills whoever carries it out does not do so for ever: what was handed out before and was not settled is
tried alone, and put on record when it has killed some more (:mod:`.poison`).
"""

from __future__ import annotations

from clew_services.inbox.inbox_service import serve_inbox

__all__ = ["serve_inbox"]
