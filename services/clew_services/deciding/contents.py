"""From the request's spelling to the record's. Pure."""

from __future__ import annotations

from clew_events.content import (
    Attachment,
    ImageFile,
    ImageFileSource,
    ImageUrl,
    ImageUrlSource,
    Message,
    Part,
    Text,
    Tool,
)
from clew_events.requests import NewImageFile, NewImageUrl, NewMessage, NewText


def message_of(new: NewMessage, ordinal: int, message_id: str) -> Message:
    """The message to record: a bare string becomes one text part, absent lists and metadata become empty."""
    return Message(
        id=message_id,
        ordinal=ordinal,
        role=new.role,
        content=parts_of(new),
        attachments=tuple(
            Attachment(attachment.file_id, tuple(Tool(tool.type) for tool in attachment.tools))
            for attachment in new.attachments or ()
        ),
        metadata=new.metadata or {},
    )


def parts_of(new: NewMessage) -> tuple[Part, ...]:
    """The parts of a message to record."""
    if isinstance(new.content, str):
        return (Text(new.content),)
    return tuple(_part(part) for part in new.content)


def _part(part: NewText | NewImageFile | NewImageUrl) -> Part:
    match part:
        case NewText():
            return Text(part.text)
        case NewImageFile():
            return ImageFile(ImageFileSource(part.image_file.file_id, part.image_file.detail))
        case NewImageUrl():
            return ImageUrl(ImageUrlSource(part.image_url.url, part.image_url.detail))
