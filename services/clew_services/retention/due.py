"""When a thread is due to be removed, how, and by which rule. Pure: every time follows from the log.

A policy counts its days from the thread's first commit, from when somebody last made use of it, or from when it was
created, which is earlier for one that was imported. From then on the thread
is deleted, or erased, or first deleted and some days later erased. A thread that somebody else deleted is not removed
earlier than it would have been, and stays no longer: its days of being deleted count from when it was deleted, or from
when the policy would have deleted it, whichever is later. What a thread says itself, ``expires_after``, deletes it;
only a policy erases.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from clew_events.content import Disposal
from clew_projections.index.match import MatchedThread, match
from clew_projections.tenant_state import RetentionPolicy, TenantState


class Removal(Struct, frozen=True):
    """That a thread is due at a time, by a policy; ``None``: by its own ``expires_after``."""

    action: Disposal
    at: datetime
    policy: str | None


class Verdict(Struct, frozen=True):
    """What is to become of a thread, the earliest first, and the legal holds that keep it from that."""

    removals: tuple[Removal, ...]
    holds: tuple[str, ...]

    def due(self, at: datetime) -> Removal | None:
        """What is to be done at a time, but for holds: the first erasure that is due, else the first deletion."""
        due = [removal for removal in self.removals if removal.at <= at]
        return next((removal for removal in due if removal.action == "erase"), due[0] if due else None)


def agree(now: Verdict, then: Verdict, at: datetime) -> Removal | None:
    """What is to be done with a thread that was due at an earlier look, ``at`` a time, as it was ``then``, and is now.

    ``None`` if a legal hold kept it then or does now, or it was not due: a thread that was restored since was not.
    """
    return None if now.holds or then.holds or then.due(at) is None else now.due(at)


def judge(matched: MatchedThread, rules: TenantState) -> Verdict:
    """Return what is to become of a thread as it is, by the rules of its tenant.

    Nothing becomes of one that was erased, or was never created.
    """
    thread = matched.view
    found = [each for policy in rules.policies.values() if (each := _by(policy, matched)) is not None]
    if thread.expires_at is not None:
        found.append(Removal("delete", thread.expires_at, None))
    standing = [hold.name for hold in rules.holds.values() if found and match(hold.condition, matched)]
    holds = tuple(dict.fromkeys((*thread.holds, *standing)))
    return Verdict(tuple(sorted(found, key=lambda removal: (removal.at, removal.policy or ""))), holds)


def _by(policy: RetentionPolicy, matched: MatchedThread) -> Removal | None:
    """What a policy is to do with a thread; ``None`` if nothing."""
    thread = matched.view
    used = thread.last_active_at or thread.updated_at
    since = {"created": thread.recorded_at, "changed": used, "original": thread.created_at}[policy.since]
    if since is None or thread.status not in {"open", "deleted"}:
        return None
    if policy.condition is not None and not match(policy.condition, matched):
        return None
    over = since + timedelta(days=policy.after_days)
    if policy.then == "erase":
        return Removal("erase", over, policy.name)
    if thread.status == "open":
        return Removal("delete", over, policy.name)
    if policy.erase_after_days is None:
        return None
    deleted = max(over, thread.deleted_at or thread.updated_at or over)
    return Removal("erase", deleted + timedelta(days=policy.erase_after_days), policy.name)
