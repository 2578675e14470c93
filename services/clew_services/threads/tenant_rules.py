"""The rules of what a tenant orders for its threads: the events that a command leads to, and its answer. Pure."""

from __future__ import annotations

from typing import Final, assert_never

from msgspec import Struct

from clew_events.commands import (
    OnTenant,
    PlaceStandingHold,
    ReleaseStandingHold,
    RemoveRetention,
    SetRetention,
)
from clew_events.errors import AlreadyExists, Invalid, NotFound
from clew_events.events import Event, RetentionRemoved, RetentionSet, StandingHoldPlaced, StandingHoldReleased
from clew_events.list_reply import Count, RetentionEffect
from clew_projections.tenant_state import RetentionPolicy, TenantState, encode_condition

REMOVES_ALL: Final = "removes_all"
"""The code of the error for a policy that is for all threads there are, and not confirmed."""
MAX_POLICIES: Final = 100
"""The most policies of retention that a tenant has."""
MAX_HOLDS: Final = 100
"""The most standing legal holds that a tenant has: each erasure is held against all of them."""


class Impact(Struct, frozen=True, kw_only=True):
    """What a policy is about now, by the index: all ``threads`` that match, those of them that are ``due``.

    ``everything`` if no thread of the tenant is left out. ``holds`` are the names of legal holds on some that match.
    """

    everything: bool
    threads: Count
    due: Count
    holds: tuple[str, ...]


def decide_tenant(command: OnTenant, state: TenantState, impact: Impact | None) -> tuple[Event, ...]:
    """The events that carry out a command on a tenant's own history; none if nothing changes.

    ``impact`` is that of the policy that the command sets, and ``None`` where it is not known.

    Raises:
        NotFound: there is no such policy or standing hold.
        AlreadyExists: there is a standing hold of this name with another filter.
        Invalid: a policy or hold would be one too many, or the policy would remove everything and is not confirmed.
    """
    match command:
        case SetRetention():
            return _set_retention(command, state, impact)
        case RemoveRetention():
            if command.name not in state.policies:
                raise NotFound(
                    f"The tenant has no policy of retention '{command.name}'.", code="retention_not_found", param="name"
                )
            return (RetentionRemoved(name=command.name),)
        case PlaceStandingHold():
            return _place(command, state)
        case ReleaseStandingHold():
            if command.hold not in state.holds:
                raise NotFound(
                    f"The tenant has no standing legal hold '{command.hold}'.", code="hold_not_found", param="hold"
                )
            return (StandingHoldReleased(hold=command.hold),)
        case _:
            assert_never(command)


def _place(command: PlaceStandingHold, state: TenantState) -> tuple[Event, ...]:
    where, known = encode_condition(command.where), state.holds.get(command.hold)
    if known is not None and known.where == where:
        return ()
    if known is not None:
        raise AlreadyExists(
            f"There is a standing legal hold '{command.hold}' with another filter: release it first, or take another "
            "name.",
            param="hold",
        )
    if len(state.holds) >= MAX_HOLDS:
        raise Invalid(f"The tenant has {MAX_HOLDS} standing legal holds, and cannot have more.", code="too_many_holds")
    return (StandingHoldPlaced(hold=command.hold, where=where),)


def policy_of(command: SetRetention) -> RetentionPolicy:
    """The policy that a command sets."""
    return RetentionPolicy(
        name=command.name,
        after_days=command.after_days,
        since=command.since,
        where=None if command.where is None else encode_condition(command.where),
        then=command.then,
        erase_after_days=command.erase_after_days,
    )


def retention_effect(command: SetRetention, impact: Impact | None = None) -> RetentionEffect:
    """What a command that sets a policy is answered."""
    return RetentionEffect(
        name=command.name,
        after_days=command.after_days,
        since=command.since,
        where=command.where,
        then=command.then,
        erase_after_days=command.erase_after_days,
        threads=impact.threads if impact is not None else None,
        due=impact.due if impact is not None else None,
        held_by=impact.holds if impact is not None else None,
    )


def _set_retention(command: SetRetention, state: TenantState, impact: Impact | None) -> tuple[Event, ...]:
    policy = policy_of(command)
    if state.policies.get(policy.name) == policy:
        return ()
    if policy.name not in state.policies and len(state.policies) >= MAX_POLICIES:
        raise Invalid(
            f"The tenant has {MAX_POLICIES} policies of retention, and cannot have more.", code="too_many_policies"
        )
    if not command.confirm and (impact is None or impact.everything):
        raise Invalid(
            f"{_say_everything(command, impact)} Confirm it with 'confirm'.", code=REMOVES_ALL, param="confirm"
        )
    return (
        RetentionSet(
            name=policy.name,
            after_days=policy.after_days,
            since=policy.since,
            then=policy.then,
            erase_after_days=policy.erase_after_days,
            where=policy.where,
        ),
    )


def _say_everything(command: SetRetention, impact: Impact | None) -> str:
    if impact is None:
        return (
            f"Whether the policy '{command.name}' is for all threads of the tenant is not known, as no index of "
            "threads can be asked here."
        )
    return (
        f"The policy '{command.name}' is for all {_say_count(impact.threads)} threads of the tenant, and would "
        f"{command.then} {_say_count(impact.due)} of them now."
    )


def _say_count(count: Count) -> str:
    return str(count.threads) if count.exact else f"at least {count.threads}"
