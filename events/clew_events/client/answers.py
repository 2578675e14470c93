"""What the client's methods answer: the replies of :mod:`clew_events.replies`, with what each is sure to have."""

from __future__ import annotations

from clew_events.objects import Gone, Message, MessagePage, Thread
from clew_events.past import Then
from clew_events.replies import Done, Found


class ThreadDone(Done, frozen=True, kw_only=True):
    """A change to a thread, and the thread as it was right after."""

    thread: Thread


class MessageDone(Done, frozen=True, kw_only=True):
    """A change to a message, and the message as it was right after."""

    message: Message


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
