"""The HTTP API as one ASGI application: which path leads where."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from clew_projections.feed import Feed
from clew_projections.feed.live_end import Tail
from clew_services.api_keys import Keys, KeyScope
from clew_services.checkpoints.checkpoint_answers import CheckpointQueries
from clew_services.http.command_call import CommandCall
from clew_services.http.explorer import explorer_routes
from clew_services.http.health import Liveness, Readiness
from clew_services.http.middleware import Doorway, Edge, Nowhere, Respond, Show, Window
from clew_services.http.openapi import description
from clew_services.http.rate_limit import RateLimit
from clew_services.http.retries import Attempts
from clew_services.http.routes.audit import Packs, Past
from clew_services.http.routes.checkpoints import Checkpoints
from clew_services.http.routes.event_feed import Events, Live
from clew_services.http.routes.messages import Messages
from clew_services.http.routes.threads import ThreadListing, Threads
from clew_services.observer import NOBODY, Observer
from clew_services.packs.exporter import Exporter
from clew_services.queries.reader import Reader
from clew_services.settings import Settings
from clew_services.threads.handler import Commands
from clew_services.tracing import UNTRACED, Tracing

ELSEWHERE: Final = ""
"""What stands for the path where there is nothing at the path."""
NONE: Final[Mapping[str, Respond]] = MappingProxyType({})


class ApiParts(Struct, frozen=True, kw_only=True):
    """What the API works with. ``observer`` is told of each answer, and ``tracing`` follows each request."""

    handler: Commands
    reader: Reader
    feed: Feed
    tail: Tail
    checkpoints: CheckpointQueries
    exporter: Exporter
    liveness: Liveness
    readiness: Readiness
    observer: Observer = NOBODY
    tracing: Tracing = UNTRACED


def create_app(clew: ApiParts, keys: Keys, settings: Settings, metrics: Show | None = None) -> ASGIApp:
    """The API for the holders of ``keys``. It needs no lifespan and holds nothing open.

    ``metrics``, if there are any to be shown here, is what ``GET /metrics`` shows.
    """
    everywhere = routes(clew, keys, settings)
    if metrics is not None:
        everywhere.append(Route("/metrics", Window(metrics)))
    elsewhere = Nowhere()
    elsewhere.answered = clew.observer.route(ELSEWHERE)
    for route in everywhere:
        if isinstance(route.endpoint, Edge):
            route.endpoint.answered = clew.observer.route(route.path)
        route.app = clew.tracing.route(route.app, route.path)
    router = Router(everywhere, redirect_slashes=False, default=elsewhere)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # Paths are matched as they were sent: an id with an encoded slash is one segment, not two.
            scope["path"] = scope["raw_path"].decode("latin-1")
        await router(scope, receive, send)

    return app


def routes(clew: ApiParts, keys: Keys, settings: Settings) -> list[Route]:
    """Every path at which there is something, the most asked for first."""
    carrying = CommandCall(clew.handler, Attempts())
    threads, messages = Threads(carrying, clew.reader), Messages(carrying, clew.reader)
    past = Past(clew.reader)
    checkpoints = Checkpoints(clew.checkpoints)
    pace = RateLimit(settings.rate, settings.burst)

    def doorway(
        closed: Mapping[str, Respond] = NONE, reading: KeyScope = "read", versioned: bool = True, **methods: Respond
    ) -> Doorway:
        return Doorway(methods, keys, settings.max_body, pace, closed, reading=reading, versioned=versioned)

    return [
        # Before the path it would match otherwise: creating a thread and running it is no modifying of "runs".
        Route("/v1/threads/runs", Nowhere()),
        Route(
            "/v1/threads/{thread_id}",
            doorway(GET=threads.retrieve, POST=threads.modify, PATCH=threads.patch, DELETE=threads.delete),
        ),
        Route("/v1/threads", doorway(GET=ThreadListing(clew.reader).page, POST=threads.create)),
        Route("/v1/threads/{thread_id}/messages", doorway(GET=messages.page, POST=messages.create)),
        Route(
            "/v1/threads/{thread_id}/messages/{message_id}",
            doorway(GET=messages.retrieve, POST=messages.modify, PATCH=messages.patch, DELETE=messages.delete),
        ),
        Route("/v1/threads/{thread_id}/events", doorway(reading="audit", GET=past.events)),
        Route("/v1/threads/{thread_id}/diff", doorway(reading="audit", GET=past.diff)),
        Route("/v1/threads/{thread_id}/blame", doorway(reading="audit", GET=past.blame)),
        Route(
            "/v1/events",
            doorway(reading="audit", versioned=False, GET=Events(clew.reader, Live(clew.feed, clew.tail)).feed),
        ),
        Route("/v1/threads/{thread_id}/proof", doorway(reading="audit", GET=checkpoints.proof)),
        Route(
            "/v1/threads/{thread_id}/export",
            doorway(reading="audit", GET=Packs(clew.exporter, clew.checkpoints).export),
        ),
        Route("/v1/checkpoints", doorway(reading="audit", versioned=False, GET=checkpoints.page)),
        Route("/v1/checkpoints/{number}", doorway(reading="audit", versioned=False, GET=checkpoints.retrieve)),
        Route("/healthz", Window(clew.liveness.show)),
        Route("/readyz", Window(clew.readiness.show)),
        Route("/openapi.json", Window(description)),
        *explorer_routes(),
    ]
