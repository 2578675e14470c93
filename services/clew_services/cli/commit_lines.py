"""Commits and their changes as text lines, in colour on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import UnsetType

from clew_events.audit_replies import Difference, KeyChange, MessageChange, Origin
from clew_events.commit import Commit
from clew_events.content import ImageFile, ImageUrl
from clew_events.items import Item, message_in, read_fields
from clew_events.objects import Message, TextPart
from clew_events.replies import MissingCommits
from clew_projections.api_objects import content_object, item_object
from clew_projections.views import ItemView
from clew_services.cli import output, terminal
from clew_services.cli.event_words import describe, expiry, kind_of
from clew_services.cli.terminal import Markup, style

_UNITS: Final = ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h"), (86_400 * 60, 86_400, "days"))
_INDENT: Final = "      "


def ago(at: datetime, now: datetime) -> str:
    """An age as one number and unit (``5 s ago``); ages over 60 days as a date, future times in full."""
    seconds = (now - at).total_seconds()
    if seconds < 0:
        return output.when(at)
    for limit, unit, name in _UNITS:
        if seconds < limit:
            return f"{int(seconds // unit)} {name} ago"
    return at.astimezone(UTC).strftime("%Y-%m-%d")


def moment(at: datetime) -> str:
    """A time: its age on a terminal, the exact time elsewhere."""
    return ago(at, datetime.now(UTC)) if sys.stdout.isatty() else output.when(at)


def one_line(commit: Commit, digest: str, *, exact: bool = False) -> Markup:
    """A commit on one line; ``exact`` shows its time instead of its age."""
    time = output.when(commit.at) if exact else moment(commit.at)
    what = "; ".join(map(describe, commit.events))
    if commit.reason is not None:
        what += f"  ({commit.reason})"
    return terminal.line(
        f"{commit.n:>4}  ", style(digest[:12], fg="yellow"), "  ", style(time, fg="green"), "  ",
        style(commit.actor, fg="cyan"), "  ", style(commit.command, bold=True), "  ",
        what,
    )  # fmt: skip


def format_gap(gap: MissingCommits) -> Markup:
    """Commits that the log lost, on the line where they should be."""
    which = str(gap.first) if gap.first == gap.last else f"{gap.first} to {gap.last}"
    return style(f"{which:>4} missing", fg="red", bold=True)


def by_line(by: Origin) -> Markup:
    """The actor, time, command and commit of a change."""
    return terminal.line(
        style(by.actor, fg="cyan"), ", ", style(moment(by.at), fg="green"), f", {by.command} {by.n}  ",
        style(by.hash[:12], fg="yellow"),
    )  # fmt: skip


def change_lines(difference: Difference) -> Iterator[str]:
    """The lines of a difference: old values in red with a minus, new ones in green with a plus."""
    if difference.erased:
        yield f"{_INDENT}contents of some commits were erased"
    if difference.status.before != difference.status.after:
        yield f"{_INDENT}thread: {difference.status.before} -> {difference.status.after}"
    yield from _keys("metadata ", difference.metadata)
    for change in difference.tool_resources:
        yield from _pair(f"{change.resource} ", ", ".join(change.before) or None, ", ".join(change.after) or None)
    if difference.expires_after:
        expiries = (difference.expires_after.before, difference.expires_after.after)
        yield from _pair("expires ", *(None if each is None else expiry(each) for each in expiries))
    yield from _item_changes(difference)


def _item_changes(difference: Difference) -> Iterator[str]:
    for message in difference.messages:
        if message.change == "added_and_deleted":
            yield f"{_INDENT}{message.id} was added and deleted in between"
        elif message.after is not None and message.after.erased is True and message.change == "changed":
            yield f"{_INDENT}{message.id} was changed (erased)"
        else:
            yield from _contents(message)
            if message.change == "changed":
                yield from _keys(f"{message.id} ", message.metadata)
    for item in difference.items:
        if item.before == item.after:
            yield f"{_INDENT}{item.id} was changed (erased)"
        else:
            yield from _pair(f"{item.id} ", _item_text(item.before), _item_text(item.after))


def _keys(prefix: str, changes: Sequence[KeyChange]) -> Iterator[str]:
    for change in changes:
        name = f"{prefix}{change.key}="
        yield from _pair(name, change.before, change.after)


def _pair(name: str, before: str | None, after: str | None) -> Iterator[str]:
    if before is not None:
        yield style(f"{_INDENT}- {name}{before}", fg="red")
    if after is not None:
        yield style(f"{_INDENT}+ {name}{after}", fg="green")


def _contents(change: MessageChange) -> Iterator[str]:
    """What a message says, before and after, unless it says the same in both."""
    both = (change.before, change.after)
    before, after = (None if each is None else f"{each.id} {_message_text(each)}" for each in both)
    if before == after:  # Other parts and attachments are not in the text.
        before, after = (
            None if each is None else f"{each.id} {msgspec.json.encode((each.content, each.attachments)).decode()}"
            for each in both
        )
    if before != after:
        yield from _pair("", before, after)


def _message_text(message: Message) -> str:
    return "?: (erased)" if message.erased is True else f"{message.role}: {text_of(message.content)}"


def _item_text(item: Item | UnsetType) -> str | None:
    if isinstance(item, UnsetType):
        return None
    # What was given has a type or a role.
    return "(erased)" if read_fields(item).keys() == {"id", "erased"} else bytes(item).decode()


def item_words(item: ItemView) -> tuple[str, str]:
    """The role of a message and its text, or the type of another item and its JSON."""
    if item.erased:
        return "?", "(erased)"
    message = message_in(item.body) if item.body is not None else item.message
    if message is not None:
        return message.role, text_of(content_object(message.content))
    body = item_object(item)
    return kind_of(body), bytes(body).decode()


def text_of(content: Sequence[TextPart | ImageFile | ImageUrl]) -> str:
    """A message's text; other parts are shown as their type in parentheses."""
    return " ".join(
        part.text.value if isinstance(part, TextPart) else f"({part.__struct_config__.tag})" for part in content
    )
