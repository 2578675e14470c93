"""A NATS client that tolerates invalid bytes, for services that receive messages of any publisher.

nats-py decodes subjects, reply subjects and status lines as UTF-8 in its read loop, and the loop ends for good if they
are not UTF-8. NATS lets any client publish such bytes, so the service would stop receiving while it looks connected.
This client decodes what it can of such a message and continues.
"""

from __future__ import annotations

from nats.aio.msg import Msg

from clew_events.connection import open_client
from clew_projections.nats.headers import fields
from clew_projections.nats.lean_client import LeanClient
from clew_services.embedded.config import SERVER, service_url
from clew_services.nats_connection import PENDING, Troubles


class TolerantClient(LeanClient):
    """A nats-py client whose read loop survives bytes that are no UTF-8, wherever they stand."""

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        try:
            parsed = await super()._process_headers(headers)
        except (ValueError, IndexError):
            return None
        # Of a name that is there twice the last counts, since a server appends its own to what a client wrote. A parser
        # of mails, which nats-py prefers where one is installed, may end before it.
        return {**parsed, **fields(headers)} if parsed and headers else parsed

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        return self.msg_class(
            subject=subject.decode(errors="replace"),
            reply=reply.decode(errors="replace"),
            data=data,
            headers=headers,
            _client=self,
            _sid=sid,
        )


async def connect_second(nc: LeanClient, *, name: str, service: bool = False) -> TolerantClient:
    """Open a second connection to the servers of ``nc``, which reconnects without end.

    A ``service`` logs in to the embedded server where clients without a password ask for it.

    What listens for strangers has its own connection: a flood of requests, or being cut off for reading too
    slowly, then never delays or takes down the one that the log is written over, and it can be drained by
    itself. If it is closed for good, that ends ``nc`` too, as far as :attr:`LastingClient.ended` tells.
    """
    discovered = {server.geturl() for server in nc.discovered_servers}
    twin, troubles = TolerantClient(), Troubles(name)
    twin.ended = nc.ended
    urls = [url for server in nc.servers if (url := server.geturl()) not in discovered]
    if service and nc.server_name == SERVER:
        urls = [service_url(url) for url in urls]
    await open_client(
        twin,
        urls,
        name=name,
        timeout=None,
        on_error=troubles.note,
        inbox_prefix=nc.new_inbox().rpartition(".")[0],
        reconnected_cb=troubles.forget,
        reconnect_time_wait=nc.options["reconnect_time_wait"],
        pending_size=PENDING,
        security=nc.security,
    )
    return twin
