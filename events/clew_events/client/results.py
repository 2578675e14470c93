"""What the client's methods answer: the replies of :mod:`clew_events.replies`, with what each is sure to have."""

from __future__ import annotations

from clew_events.audit_replies import Then
from clew_events.objects import Gone, Message, MessagePage, MessageReceipt, Thread, ThreadReceipt
from clew_events.replies import Done, Found


class ThreadDone(Done, frozen=True, kw_only=True):
    """A change to a thread: which it is, and of its metadata what the change set. ``get_thread`` has all of it."""

    thread: ThreadReceipt


class MessageDone(Done, frozen=True, kw_only=True):
    """A change to a message: which it is, and what the change said. ``get_message`` has all of it."""

    message: MessageReceipt


class GoneDone(Done, frozen=True, kw_only=True):
    """What is no more."""

    deleted: Gone


class ThreadFound(Found, frozen=True, kw_only=True):
    """A thread as it is."""

    thread: Thread


class MessageFound(Found, frozen=True, kw_only=True):
    """A message as it is."""

    message: Message


class MessageThen(Then, frozen=True, kw_only=True):
    """A message as it was."""

    message: Message


class MessagesThen(Then, frozen=True, kw_only=True):
    """A page of messages as they were."""

    messages: MessagePage


class MessagesFound(Found, frozen=True, kw_only=True):
    """A page of messages as they are."""

    messages: MessagePage
