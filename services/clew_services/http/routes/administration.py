"""``/v1/keys``, ``/v1/rejections`` and ``/v1/status``, for administrators of a tenant."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Final
from urllib.parse import unquote

import msgspec
from msgspec.structs import asdict

from clew_events.admin_objects import (
    ApiKey,
    ApiKeyList,
    DeploymentStatus,
    DerivedStatus,
    NewApiKey,
    RejectedCommand,
    RejectedCommandPage,
    RetriedCommand,
    ShardStatus,
)
from clew_events.error_texts import quote_text
from clew_events.errors import Invalid, NotFound
from clew_events.http_forms import NewKeyBody, PageOfRejections, RetryBody
from clew_projections.nats.jetstream import JetStream
from clew_services.api_keys import SCOPES, Holder, Keys
from clew_services.api_keys.key_bucket import IssuedKey, KeyBucket
from clew_services.http.call import Call
from clew_services.http.responses import Answer, json_answer
from clew_services.inbox import rejections
from clew_services.inbox.rejections import Refusal
from clew_services.status.deployment_status import Status
from clew_services.version import clew_version

_NUMBER: Final = re.compile("[1-9][0-9]{0,15}", re.ASCII)


class Administration:
    """Answers the administrators of a tenant. What belongs to another tenant is not there for them."""

    def __init__(self, js: JetStream, keys: Keys, status: Callable[[], Awaitable[Status]]) -> None:
        self._js = js
        self._keys = keys
        self._key_bucket = KeyBucket(js)
        self._status = status

    async def list_keys(self, call: Call) -> Answer:
        """``GET /v1/keys``: the issued keys of the tenant, and its keys in the configuration of this process."""
        tenant = call.holder.tenant
        issued = [_issued_key(key) for key in await self._key_bucket.all() if key.tenant == tenant]
        configured = [_configured_key(holder) for holder in self._keys.configured() if holder.tenant == tenant]
        return json_answer(ApiKeyList(data=(*issued, *configured)))

    async def create_key(self, call: Call) -> Answer:
        """``POST /v1/keys``."""
        body = await call.body(NewKeyBody)
        key, issued = await self._key_bucket.create(call.holder.tenant, body.name, body.scopes)
        return json_answer(NewApiKey(key=key, **asdict(_issued_key(issued))))

    async def revoke_key(self, call: Call) -> Answer:
        """``DELETE /v1/keys/{key_id}``."""
        key_id = unquote(call.path_param("key_id"))
        if any(key_id == holder.key and holder.tenant == call.holder.tenant for holder in self._keys.configured()):
            raise Invalid(
                f"The key {key_id} is configured: remove it from CLEW_API_KEYS and start Clew again.",
                code="configured_key",
            )
        return json_answer(_issued_key(await self._key_bucket.revoke(key_id, call.holder.tenant)))

    async def list_rejections(self, call: Call) -> Answer:
        """``GET /v1/rejections``: by their numbers."""
        form = call.query(PageOfRejections)
        found: list[Refusal] = []
        async with aclosing(
            rejections.list_rejected(self._js, tenant=call.holder.tenant, after=form.after or 0)
        ) as records:
            async for refusal in records:
                found.append(refusal)
                if len(found) > form.limit:
                    break
        page = found[: form.limit]
        more = len(found) > len(page)
        return json_answer(
            RejectedCommandPage(
                data=tuple(map(_rejected_command, page)), has_more=more, next=page[-1].number if more else None
            )
        )

    async def retry_rejection(self, call: Call) -> Answer:
        """``POST /v1/rejections/{rejection}/retry``."""
        await call.body(RetryBody, empty=b"{}")
        said = unquote(call.path_param("rejection"))
        if _NUMBER.fullmatch(said) is None:
            raise NotFound(f"there is no rejected command {quote_text(said, 40)}", code="refusal_not_found")
        refusal = await rejections.refusal(self._js, int(said), tenant=call.holder.tenant)
        await rejections.retry(self._js, refusal)
        return json_answer(RetriedCommand(number=refusal.number))

    async def get_status(self, call: Call) -> Answer:
        """``GET /v1/status``: of all tenants."""
        _ = call
        return json_answer(_deployment_status(await self._status()))


def _issued_key(issued: IssuedKey) -> ApiKey:
    return ApiKey(
        id=issued.id,
        name=issued.name,
        scopes=issued.scopes,
        created_at=_seconds(issued.created_at),
        last_used_at=_seconds(issued.last_used_at),
        revoked_at=_seconds(issued.revoked_at),
    )


def _configured_key(holder: Holder) -> ApiKey:
    return ApiKey(id=holder.key, name=holder.actor, scopes=SCOPES, configured=True)


def _seconds(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp())


def _rejected_command(refusal: Refusal) -> RejectedCommand:
    rejection = refusal.rejection
    return RejectedCommand(
        number=refusal.number,
        at=refusal.at,
        command=rejection.command,
        command_id=rejection.id,
        error=rejection.error,
        final=refusal.why_final,
        body=rejection.body,
        shortened=rejection.shortened,
    )


def _deployment_status(status: Status) -> DeploymentStatus:
    return DeploymentStatus(
        version=clew_version(),
        nats_server=status.nats_server,
        replicas=status.replicas,
        threads=status.threads,
        commits=status.commits,
        behind=status.behind,
        inbox=status.inbox,
        rejected=status.rejected,
        parked=len(status.parked),
        shards=msgspec.convert(status.shards, tuple[ShardStatus, ...], from_attributes=True),
        derived=msgspec.convert(status.derived, DerivedStatus | None, from_attributes=True),
    )
