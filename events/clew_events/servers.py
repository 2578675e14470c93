"""Where NATS is: one server, or several of one cluster, of which any will do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict
from urllib.parse import urlsplit


class Login(TypedDict, total=False):
    """How nats-py is told who connects."""

    user: str
    password: str
    token: str


def addresses(servers: str | Sequence[str]) -> list[str]:
    """The URL of each server. In one text they have commas between them."""
    each = servers.split(",") if isinstance(servers, str) else servers
    return [url.strip() for url in each if url.strip()]


def login(servers: Sequence[str]) -> Login:
    """Who connects, if all URLs that say so say the same; else each is for itself.

    Told apart from the URLs, nats-py says it to the servers as well that it learns of from the cluster.
    """
    found = {(parts.username, parts.password) for parts in map(urlsplit, servers) if parts.username is not None}
    if len(found) != 1:
        return {}
    ((name, password),) = found
    assert name is not None
    return {"token": name} if password is None else {"user": name, "password": password}
