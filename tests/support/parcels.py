"""Conversations worth looking at: for tests of how they look, and for the pictures in the documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Raw

from clew_events.commands import AddItems, Command, CreateThread, DeleteItem, PlaceHold, UpdateThread
from clew_events.requests import MetadataPatch
from clew_services.compose import Clew
from support.writers import handler

PARCEL: Final = "conv_F2JUWJYMdrHcRwMJN425IHzp"
"""A conversation of three days, in which six people and programs had a part."""
_NEWS: Final = """It left Oslo yesterday evening:

| when | where |
|---|---|
| Monday, 18:40 | Oslo, depot |
| Tuesday, 07:15 | on the train to Bergen |

It should be with you by **Wednesday noon**."""
_OTHERS: Final = (
    (80.0, "shop", "gold", "Refund for order 4698", "You sent me the wrong size. Can I have my money back?"),
    (70.0, "app", "free", None, "How do I change my address? I move to Bergen in May."),
    (30.0, "shop", "free", "Login does not work", "The app closes as soon as I enter my password."),
    (20.0, "import", "silver", None, "Please delete my account and all that you know of me."),
    (6.0, "shop", "gold", "Invoice for March", "I need an invoice with the name of my company."),
    (0.5, "app", "gold", None, "Is the blue one in stock again?"),
)


def _said(role: str, text: str, **fields: str) -> tuple[Raw, ...]:
    return (Raw(json.dumps({"type": "message", "role": role, "content": text, **fields}).encode()),)


async def write_parcels(clew: Clew) -> None:
    """Write them for the tenant ``acme``, as if they had happened until now."""
    call = Raw(b'{"type":"function_call","call_id":"c1","name":"track_parcel","arguments":"{\\"order\\":\\"4711\\"}"}')
    answer = Raw(b'{"type":"function_call_output","call_id":"c1","output":"{\\"left\\":\\"Oslo\\",\\"kg\\":1.10}"}')
    asked = _said("user", "Where is my parcel? The tracking has said *Oslo* since Monday.")
    card = _said("user", "My card number is 4111 1111 1111 1111", id="msg_card")
    done = _said("assistant", "Done: order **4711** is cancelled, and the refund is on its way.")
    begun = {"title": "Parcel 4711 is late", "customer": "c-81", "plan": "free", "region": "eu-north"}
    upgraded = MetadataPatch(set={"plan": "gold", "urgent": "yes"})
    closed = MetadataPatch(set={"state": "cancelled"}, unset=("urgent",))
    steps: list[tuple[float, str, Command]] = [
        (74.0, "shop", CreateThread(thread_id=PARCEL, metadata=begun, items=asked)),
        (73.9, "bot:support", AddItems(thread_id=PARCEL, items=(call, answer))),
        (73.8, "bot:support", AddItems(thread_id=PARCEL, items=_said("assistant", _NEWS))),
        (52.0, "sales:kim", UpdateThread(thread_id=PARCEL, patch=upgraded)),
        (51.0, "shop", AddItems(thread_id=PARCEL, items=_said("user", "Please cancel it."))),
        (50.9, "shop", AddItems(thread_id=PARCEL, items=card)),
        (50.2, "privacy:bo", DeleteItem(thread_id=PARCEL, item_id="msg_card")),
        (3.0, "agent:ann", UpdateThread(thread_id=PARCEL, patch=closed)),
        (2.9, "agent:ann", AddItems(thread_id=PARCEL, items=done)),
        (1.0, "counsel", PlaceHold(thread_id=PARCEL, hold="case-7")),
    ]
    for number, (hours, actor, plan, title, text) in enumerate(_OTHERS):
        metadata = {"customer": f"c-{82 + number}", "plan": plan, **({"title": title} if title else {})}
        create = CreateThread(thread_id=f"conv_other_{number}", metadata=metadata, items=_said("user", text))
        steps.append((hours, actor, create))
    now = datetime.now(UTC)
    for hours, actor, command in steps:
        then = now - timedelta(hours=hours)
        await handler(clew, clock=lambda then=then: then).handle("acme", command, actor=actor)  # type: ignore[misc]
