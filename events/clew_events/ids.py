"""Identifiers: their formats, and how they are derived or drawn at random.

Thread and message ids have the format of OpenAI's (a prefix and 24 letters or digits), for programs that check it. The
id that Clew makes for an item carries the item's ordinal in the first six of these characters, so that its place in the
thread follows from it. An id that a caller chose for an item carries none.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import string
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Final

from msgspec import Meta

ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BASE: Final = len(ALPHABET)
_VALUE: Final = {character: value for value, character in enumerate(ALPHABET)}

_LETTER_OF: Final = bytes(ord(ALPHABET[byte % _BASE]) for byte in range(256))

_TAIL: Final = 24
_ORDINAL: Final = 6
MAX_ORDINAL: Final = _BASE**_ORDINAL - 1

# `$` alone matches before a trailing newline in Python; the look-ahead excludes it in every regex dialect.
_END: Final = r"$(?!\n)"
THREAD_ID_PATTERN: Final = r"^(thread|conv_)[A-Za-z0-9_-]{1,122}" + _END
CONVERSATION_ID_PATTERN: Final = r"^conv_[A-Za-z0-9_-]{1,122}" + _END
HISTORY_ID_PATTERN: Final = r"^(tenant|(thread|conv_)[A-Za-z0-9_-]{1,122})" + _END
MESSAGE_ID_PATTERN: Final = r"^msg_[A-Za-z0-9]{24}" + _END
# A path that ends with dots alone leads elsewhere: clients take "." and ".." out of it before they send it.
ITEM_ID_PATTERN: Final = r"^(?!\.+$)[A-Za-z0-9_.:-]{1,64}" + _END
ERASURE_ID_PATTERN: Final = r"^erasure_[A-Za-z0-9]{24}" + _END
COMMAND_ID_PATTERN: Final = r"^[!-~]{1,128}" + _END
TENANT_PATTERN: Final = r"^[a-z0-9][a-z0-9_-]{0,63}" + _END
# What Clew records of a caller is not for callers to say: it would stand in the log like something checked.
ACTOR_PATTERN: Final = r"^(?!key:|key_[0-9a-f]{8}$|http:[0-9a-f]{16}$|nats:)[^\x00-\x1f\x7f]{1,128}" + _END
REASON_PATTERN: Final = r"^[^\x00-\x1f\x7f]{1,512}" + _END
CODE_PATTERN: Final = ITEM_ID_PATTERN
CURSOR_PATTERN: Final = r"^[1-9][0-9]{0,14}(-[1-9][0-9]{0,18})?" + _END
KEY_ID_PATTERN: Final = r"^[0-9a-f]{16}" + _END
KEY_NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}" + _END
SUBJECT_PATTERN: Final = r"^[^\x00-\x20\x7f*>]{1,256}" + _END

THREAD_ID_FORM: Final = "'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'"
ITEM_ID_FORM: Final = "1 to 64 letters, digits and '_', '-', '.' or ':', not dots alone"
CODE_FORM: Final = (
    "a code of 1 to 64 letters, digits and '_', '.', ':' or '-', not dots alone, such as 'asked_by_customer'"
)
TENANT_FORM: Final = "1 to 64 of 'a-z', '0-9', '_' and '-', not beginning with '_' or '-'"
KEY_NAME_FORM: Final = "1 to 64 letters, digits, '.', '_', '@' and '-', beginning with a letter or digit"
ACTOR_FORM: Final = (
    "1 to 128 characters, none of them a control character, and not what Clew itself calls a caller "
    "('key:…', 'http:…', 'nats:…')"
)

# An error says what a text is not by its description.
ThreadId = Annotated[str, Meta(pattern=THREAD_ID_PATTERN, description=THREAD_ID_FORM)]
HistoryId = Annotated[str, Meta(pattern=HISTORY_ID_PATTERN, description=f"{THREAD_ID_FORM}; or 'tenant'")]
"""The id of a thread, or what stands in its place where a tenant's own history is."""
MessageId = Annotated[str, Meta(pattern=MESSAGE_ID_PATTERN, description="'msg_' and 24 letters and digits")]
ItemId = Annotated[str, Meta(pattern=ITEM_ID_PATTERN, description=ITEM_ID_FORM)]
ErasureId = Annotated[str, Meta(pattern=ERASURE_ID_PATTERN, description="'erasure_' and 24 letters and digits")]
CommandId = Annotated[str, Meta(pattern=COMMAND_ID_PATTERN, description="1 to 128 visible ASCII characters")]
Tenant = Annotated[str, Meta(pattern=TENANT_PATTERN, description=TENANT_FORM)]
Actor = Annotated[str, Meta(pattern=ACTOR_PATTERN, description=ACTOR_FORM)]
Reason = Annotated[
    str, Meta(pattern=REASON_PATTERN, description="1 to 512 characters, none of them a control character")
]
Code = Annotated[str, Meta(pattern=CODE_PATTERN, description=CODE_FORM)]
Subject = Annotated[
    str, Meta(pattern=SUBJECT_PATTERN, description="a NATS subject of at most 256 characters without wildcards")
]

_THREAD_ID: Final = re.compile(THREAD_ID_PATTERN)
_MESSAGE_ID: Final = re.compile(MESSAGE_ID_PATTERN)
_ITEM_ID: Final = re.compile(ITEM_ID_PATTERN)
_CARRIER: Final = re.compile(rf"[a-z]{{1,16}}_[A-Za-z0-9]{{{_TAIL}}}")
_ERASURE_ID: Final = re.compile(ERASURE_ID_PATTERN)
_TENANT: Final = re.compile(TENANT_PATTERN)
_ACTOR: Final = re.compile(ACTOR_PATTERN)
_CODE: Final = re.compile(CODE_PATTERN)
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def is_thread_id(text: str) -> bool:
    """Whether a text is a valid thread id: one token of a NATS subject, at most 128 characters."""
    return _THREAD_ID.fullmatch(text) is not None


def is_conversation_id(text: str) -> bool:
    """Whether the id of a thread is that of a conversation."""
    return text.startswith("conv_")


def is_message_id(text: str) -> bool:
    """Whether a text is a valid message id."""
    return _MESSAGE_ID.fullmatch(text) is not None


def is_item_id(text: str) -> bool:
    """Whether a text is a valid item id: 1 to 64 letters, digits and ``_-.:``, not dots alone."""
    return _ITEM_ID.fullmatch(text) is not None


def is_erasure_id(text: str) -> bool:
    """Whether a text is a valid id of an erasure."""
    return _ERASURE_ID.fullmatch(text) is not None


def is_tenant(text: str) -> bool:
    """Whether a text is a valid tenant: 1 to 64 of ``a-z 0-9 _ -``, not starting with ``_`` or ``-``."""
    return _TENANT.fullmatch(text) is not None


def is_actor(text: str) -> bool:
    """Whether a caller may name itself so: 1 to 128 characters, no control character, not as Clew names callers."""
    return _ACTOR.search(text) is not None


def is_code(text: str) -> bool:
    """Whether a text is a code, which may be kept for ever: 1 to 64 letters, digits and ``_.:-``, not dots alone."""
    return _CODE.fullmatch(text) is not None


def is_traceparent(text: str) -> bool:
    """Whether a text is a valid W3C ``traceparent``: version, trace id, parent id and flags in 55 characters.

    Version ``ff``, and ids of zeros alone, are invalid. Fields that a later version may append are not accepted.
    """
    return _TRACEPARENT.fullmatch(text) is not None


def random_salts(count: int) -> list[str]:
    """Return salts of at least 128 random bits each, in 22 characters of base64url."""
    letters = base64.urlsafe_b64encode(os.urandom(18 * count)).decode()
    return [letters[start : start + 22] for start in range(0, 24 * count, 24)]


def derive_id(prefix: str, *parts: str, length: int = _TAIL) -> str:
    """A prefix and ``length`` (at most 32) letters or digits that depend on ``parts`` alone, and never change."""
    return prefix + _letters(hashlib.sha256("\x00".join(parts).encode()).digest()[:length])


def random_id(prefix: str, length: int = _TAIL) -> str:
    """A prefix and ``length`` unguessable letters or digits (24 carry 142 bits)."""
    return prefix + _letters(os.urandom(length))


def thread_id(*seed: str, conversation: bool = False) -> str:
    """The id of a thread: a hash of ``seed``, or random without one. That of a conversation has 48 hexadecimal digits.

    Both have the form of OpenAI's.
    """
    if conversation:
        digits = hashlib.sha256("\x00".join(seed).encode()).hexdigest()[:48] if seed else os.urandom(24).hex()
        return f"conv_{digits}"
    return derive_id("thread_", *seed) if seed else random_id("thread_")


def _letters(raw: bytes) -> str:
    """A letter or digit for each byte. Eight of the 62 represent five byte values each, the others four."""
    return raw.translate(_LETTER_OF).decode()


def _base62(number: int, width: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, _BASE)
        digits = ALPHABET[digit] + digits
    return digits.rjust(width, ALPHABET[0])


ITEM_PREFIXES: Final[Mapping[str, str]] = MappingProxyType({
    "message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fco",
    "custom_tool_call": "ctc", "custom_tool_call_output": "ctco", "file_search_call": "fs", "web_search_call": "ws",
    "computer_call": "cu", "computer_call_output": "cuo", "image_generation_call": "ig", "code_interpreter_call": "ci",
    "local_shell_call": "lsh", "mcp_call": "mcp", "mcp_list_tools": "mcpl", "mcp_approval_request": "mcpr",
    "compaction": "cmp",
})  # fmt: skip
"""What the ids that Clew makes for items of these types begin with, as OpenAI's do; those of all others with item."""


def item_id(ordinal: int, *seed: str, prefix: str = "msg") -> str:
    """The id of a thread's item number ``ordinal``, counted from 1; the rest is a hash of ``seed``.

    Raises:
        ValueError: the ordinal is out of range.
    """
    if not 1 <= ordinal <= MAX_ORDINAL:
        raise ValueError(f"an item's ordinal is between 1 and {MAX_ORDINAL}, not {ordinal}")
    return f"{prefix}_{_base62(ordinal, _ORDINAL)}{derive_id('', *seed, length=_TAIL - _ORDINAL)}"


def ordinal_of(item: str) -> int:
    """The ordinal that an item id carries; 0 if it carries none. An item with that id need not be there."""
    if _CARRIER.fullmatch(item) is None:
        return 0
    return _number(item[-_TAIL : _ORDINAL - _TAIL])


@lru_cache(4096)
def _number(digits: str) -> int:
    number = 0
    for digit in digits:
        number = number * _BASE + _VALUE[digit]
    return number


def fingerprint(item: str) -> str:
    """The fingerprint by which an item is found whose id carries no ordinal: 8 bytes, in 11 characters of base64url."""
    return base64.urlsafe_b64encode(hashlib.sha256(item.encode()).digest()[:8]).decode().rstrip("=")
