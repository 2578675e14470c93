"""What a request depends on: ``If-Match`` and ``If-None-Match``, by RFC 9110, section 13."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from clew_events import error_texts
from clew_events.errors import Conflict, Invalid
from clew_services.http.responses import Answer

_VERSION: Final = re.compile(rb'"(0|[1-9][0-9]{0,14})"')
_WEAK: Final = b"W/"
_BLANK: Final = b" \t"
_TAG: Final = re.compile(rb'(?:W/)?"[!#-~\x80-\xff]*"')
_BARE_TAG: Final = b'""'


class EntityTags(NamedTuple):
    """The entity tags of one header; ``*`` is ``every`` tag, and stands for whatever is there."""

    every: bool
    tags: frozenset[bytes]

    def match_strongly(self, tag: bytes | None) -> bool:
        """Whether a tag is one of them, and not weak there. What has no tag (``None``) is matched by ``*`` alone."""
        return self.every or tag in self.tags

    def match_weakly(self, tag: bytes | None) -> bool:
        """Whether a tag is one of them, weak or not. What has no tag (``None``) is matched by ``*`` alone."""
        return self.every or tag in {each.removeprefix(_WEAK) for each in self.tags}


class Conditions(NamedTuple):
    """What ``If-Match`` and ``If-None-Match`` make a request depend on, by RFC 9110, section 13."""

    match: EntityTags | None
    none_match: EntityTags | None

    @classmethod
    def parse(cls, headers: Mapping[bytes, bytes]) -> Conditions:
        """Parse the headers of a request.

        Raises:
            Invalid: one of them is no list of entity tags.
        """
        return cls(_entity_tags(headers, b"if-match"), _entity_tags(headers, b"if-none-match"))

    @property
    def expected_version(self) -> int | None:
        """The version that ``If-Match`` names, if it names one and nothing else."""
        if self.match is None or len(self.match.tags) != 1:
            return None
        (tag,) = self.match.tags
        version = _VERSION.fullmatch(tag)
        return int(version[1]) if version is not None else None

    def check_version(self, what: str, n: int) -> None:
        """Check that ``what`` is at version ``n``, a thread or a tenant's own history, may be changed.

        Raises:
            Conflict: it may not.
        """
        if self.match is not None and not self.match.match_strongly(b'"%d"' % n):
            expected = f", not {self.expected_version}" if self.expected_version is not None else ""
            raise Conflict(f"{what} is at version {n}{expected}", param="If-Match")
        if self.none_match is not None and self.none_match.match_weakly(b'"%d"' % n):
            raise Conflict(f"{what} is there, at version {n}", param="If-None-Match")

    def check_collection(self) -> None:
        """Check that something may be created in a collection, which has no tag.

        ``If-None-Match`` is about what is to be created, and so always holds.

        Raises:
            Conflict: a certain tag is expected.
        """
        if self.match is not None and not self.match.match_strongly(None):
            raise Conflict("what is to be created has no version", param="If-Match")

    def apply(self, answer: Answer) -> Answer:
        """What a GET is answered where ``answer`` is what is there: that, or 304 without a body.

        Raises:
            Conflict: what is there does not have the tag that is expected.
        """
        if answer.status != 200 or self == NO_CONDITIONS:
            return answer
        tag = next((value for name, value in answer.headers if name == b"etag"), None)
        if self.match is not None and not self.match.match_strongly(tag):
            there = f"has the tag {tag.decode()}" if tag is not None else "has no tag"
            raise Conflict(f"what is there {there}", param="If-Match")
        if self.none_match is not None and self.none_match.match_weakly(tag):
            return Answer(304, b"", tuple(each for each in answer.headers if each[0] != b"content-type"))
        return answer


_NAMES: Final = {b"if-match": "If-Match", b"if-none-match": "If-None-Match"}
NO_CONDITIONS: Final = Conditions(None, None)


def _entity_tags(headers: Mapping[bytes, bytes], field: bytes) -> EntityTags | None:
    value = headers.get(field)
    if value is None:
        return None
    value = value.strip(_BLANK)
    if value == b"*":
        return EntityTags(every=True, tags=frozenset())
    tags = frozenset(_TAG.findall(value))
    # A list may have empty elements.
    elements = {element.strip(_BLANK) for element in _TAG.sub(_BARE_TAG, value).split(b",")}
    if not tags or not elements <= {_BARE_TAG, b""}:
        name = _NAMES[field]
        raise Invalid(
            f"Invalid '{name}': {error_texts.quote_text(value.decode('latin-1'))}. Expected ETags such as "
            '"3", with commas between them, or *.',
            param=name,
        )
    return EntityTags(every=False, tags=tags)
