"""The HTTP API as one ASGI application: the routes, and what answers each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from operator import itemgetter
from typing import Final, NamedTuple

from msgspec import Struct
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from clew_events.operations import http_routes
from clew_projections.feed import Feed
from clew_projections.feed.live_end import Tail
from clew_projections.nats.jetstream import JetStream
from clew_services.api_keys import Keys
from clew_services.api_keys.sessions import Sessions
from clew_services.checkpoints.checkpoint_answers import CheckpointQueries
from clew_services.erasure.erasure_answers import ErasureQueries
from clew_services.http import api_page
from clew_services.http.caller_limits import RateLimit
from clew_services.http.command_call import CommandCall
from clew_services.http.explorer import explorer_routes
from clew_services.http.health import Liveness, Readiness
from clew_services.http.middleware import Admission, Door, Doorway, Edge, Nowhere, Show, Window
from clew_services.http.openapi import description
from clew_services.http.redirect import Redirect
from clew_services.http.retries import Attempts
from clew_services.http.routes.administration import Administration
from clew_services.http.routes.audit import Packs, Past
from clew_services.http.routes.checkpoints import Checkpoints
from clew_services.http.routes.conversations import Conversations
from clew_services.http.routes.erasure_progress import Erasures
from clew_services.http.routes.event_feed import Events, Live
from clew_services.http.routes.holds import Holds
from clew_services.http.routes.messages import Messages
from clew_services.http.routes.retention_policies import RetentionPolicies
from clew_services.http.routes.session_desk import SessionDesk
from clew_services.http.routes.threads import Threads
from clew_services.http.wrong_keys import WrongKeys
from clew_services.observer import NOBODY, Observer
from clew_services.packs.exporter import Exporter
from clew_services.queries.reader import Reader
from clew_services.settings import Settings
from clew_services.status.deployment_status import Status
from clew_services.threads.handler import Commands
from clew_services.tracing import UNTRACED, Tracing

ELSEWHERE: Final = ""
"""What stands for the path where there is nothing at the path."""


class ApiParts(Struct, frozen=True, kw_only=True):
    """What the API works with. ``observer`` is told of each answer, and ``tracing`` follows each request."""

    js: JetStream
    handler: Commands
    reader: Reader
    feed: Feed
    tail: Tail
    checkpoints: CheckpointQueries
    erasures: ErasureQueries
    exporter: Exporter
    status: Callable[[], Awaitable[Status]]
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
    paths = Paths()
    for route in everywhere:
        if isinstance(route.endpoint, Edge):
            route.endpoint.answered = clew.observer.route(route.path)
        paths.add(route.path, clew.tracing.route(route.app, route.path))

    def app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return elsewhere(scope, receive, send)
        # Paths are matched as they were sent: an id with an encoded slash is one segment, not two.
        path = scope["path"] = scope["raw_path"].decode("latin-1")
        there, scope["path_params"] = paths.find(path) or (elsewhere, {})
        return there(scope, receive, send)

    return app


class Paths:
    """What there is at each path. A segment in braces stands for any that is not empty, and what it is called is said.

    A path without such segments is found before one with them. Starlette's router tries one route after another.
    """

    def __init__(self) -> None:
        self._exact: dict[str, ASGIApp] = {}
        self._open: dict[int, list[_Shape]] = {}

    def add(self, path: str, app: ASGIApp) -> None:
        """Have an application answer at ``path``."""
        segments = path.split("/")
        variable = tuple(place for place, segment in enumerate(segments) if segment.startswith("{"))
        if not variable:
            self._exact[path] = app
            return
        shapes = self._open.setdefault(len(segments), [])
        shape = next((shape for shape in shapes if shape.variable == variable), None)
        if shape is None:
            fixed = itemgetter(*(place for place in range(len(segments)) if place not in variable))
            shape = _Shape(variable, fixed, {})
            shapes.append(shape)
        shape.apps[shape.fixed(segments)] = app, tuple((segments[place].strip("{}"), place) for place in variable)

    def find(self, path: str) -> tuple[ASGIApp, dict[str, str]] | None:
        """What answers at a path, and its variable segments by their names; ``None`` if there is nothing."""
        if (app := self._exact.get(path)) is not None:
            return app, {}
        segments = path.split("/")
        for _, fixed, apps in self._open.get(len(segments), ()):
            if (found := apps.get(fixed(segments))) is not None:
                app, names = found
                params = {name: segments[place] for name, place in names}
                if all(params.values()):
                    return app, params
        return None


class _Shape(NamedTuple):
    """Which segments of a path are ``variable``, and what is there by its other segments; and the variables' names."""

    variable: tuple[int, ...]
    fixed: Callable[[list[str]], object]
    apps: dict[object, tuple[ASGIApp, tuple[tuple[str, int], ...]]]


def routes(clew: ApiParts, keys: Keys, settings: Settings) -> list[Route]:
    """Every path at which there is something."""
    commands, sessions = CommandCall(clew.handler, Attempts()), Sessions(clew.js, keys)
    doors = open_doors(
        Threads(commands, clew.reader),
        Messages(commands, clew.reader),
        Conversations(commands, clew.reader),
        Past(clew.reader),
        Events(clew.reader, Live(clew.feed, clew.tail)),
        Packs(clew.exporter, clew.checkpoints),
        Checkpoints(clew.checkpoints),
        Erasures(clew.erasures),
        Holds(commands, clew.reader),
        RetentionPolicies(commands, clew.reader),
        SessionDesk(sessions),
        Administration(clew.js, keys, clew.status),
    )
    admission = Admission(keys, sessions, RateLimit(settings.rate, settings.burst), WrongKeys())
    return [
        # Before the path it would match otherwise: creating a thread and running it is no modifying of "runs".
        Route("/v1/threads/runs", Nowhere()),
        *(Route(path, Doorway(methods, admission, settings.max_body)) for path, methods in doors.items()),
        Route("/healthz", Window(clew.liveness.show)),
        Route("/readyz", Window(clew.readiness.show)),
        Route("/openapi.json", Window(description)),
        Route(api_page.PATH, Window(api_page.api_page)),
        Route("/", Redirect(b"explorer", browsers_only=True)),
        *explorer_routes(settings.explorer_title),
    ]


def open_doors(*answering: object) -> dict[str, dict[str, Door]]:
    """The doors that the table of operations names, by path and method, in the order of the table.

    A route is answered by the method of its name that one of the objects ``answering`` has.

    Raises:
        LookupError: no object has a method of that name, or several have.
    """
    doors: dict[str, dict[str, Door]] = {}
    for operation, route in http_routes():
        functions = [getattr(each, route.name) for each in answering if hasattr(each, route.name)]
        if len(functions) != 1:
            raise LookupError(f"the route {route.name!r} is answered by {len(functions)} methods, not by one")
        doors.setdefault(route.path, {})[route.method] = Door.of(functions[0], operation, route)
    return doors
