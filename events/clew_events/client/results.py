"""Return types of the client: answers of :mod:`clew_events.replies`, with the field that is always there required."""

from __future__ import annotations

from clew_events.audit_replies import Then
from clew_events.erasures import Erasure
from clew_events.items import Item
from clew_events.list_reply import FilterHold, RetentionEffect
from clew_events.objects import (
    Gone,
    HeldThread,
    ItemPage,
    ItemsReceipt,
    Message,
    MessagePage,
    MessageReceipt,
    Thread,
    ThreadReceipt,
)
from clew_events.replies import Done, Found


class ThreadDone(Done, frozen=True, kw_only=True):
    """The result of a change to a thread: a receipt, not the thread. ``get_thread`` returns that."""

    thread: ThreadReceipt


class MessageDone(Done, frozen=True, kw_only=True):
    """The result of a change to a message: a receipt, not the message. ``get_message`` returns that."""

    message: MessageReceipt


class ItemsDone(Done, frozen=True, kw_only=True):
    """The result of a change to items: the ids of those that it put there. ``get_item`` returns an item."""

    items: ItemsReceipt


class GoneDone(Done, frozen=True, kw_only=True):
    """The result of a deletion."""

    deleted: Gone


class ErasureDone(Done, frozen=True, kw_only=True):
    """The result of a request to erase."""

    erasure: Erasure


class HoldDone(Done, frozen=True, kw_only=True):
    """The result of placing or releasing a legal hold."""

    held: HeldThread


class StandingHoldDone(Done, frozen=True, kw_only=True):
    """The result of placing a standing legal hold."""

    standing: FilterHold


class RetentionDone(Done, frozen=True, kw_only=True):
    """The result of setting a policy of retention."""

    retention: RetentionEffect


class ThreadFound(Found, frozen=True, kw_only=True):
    """A thread as it is now."""

    thread: Thread


class MessageFound(Found, frozen=True, kw_only=True):
    """A message as it is now."""

    message: Message


class ItemFound(Found, frozen=True, kw_only=True):
    """An item as it is now: its text, byte for byte. ``msgspec.json.decode`` and ``json.loads`` read it."""

    item: Item


class ItemsFound(Found, frozen=True, kw_only=True):
    """A page of items as they are now."""

    items: ItemPage


class ItemThen(Then, frozen=True, kw_only=True):
    """An item as it was."""

    item: Item


class ItemsThen(Then, frozen=True, kw_only=True):
    """A page of items as they were."""

    items: ItemPage


class MessageThen(Then, frozen=True, kw_only=True):
    """A message as it was."""

    message: Message


class MessagesThen(Then, frozen=True, kw_only=True):
    """A page of messages as they were."""

    messages: MessagePage


class MessagesFound(Found, frozen=True, kw_only=True):
    """A page of messages as they are now."""

    messages: MessagePage
