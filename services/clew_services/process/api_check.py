"""What is wrong with an HTTP API, as its callers see it: whether it answers, its certificate, what it says."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import msgspec

from clew_services.host.certificate_dates import Validity
from clew_services.http.health import Ready
from clew_services.process.machine_check import judge_dates
from clew_services.process.problems import Problem

_DECODE = msgspec.json.Decoder(Ready).decode


def ask_api(url: str, patience: float) -> Iterator[Problem]:
    """The problems of the API at ``url``, which is given ``patience`` seconds for each answer."""
    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=patience)
    try:
        connection.connect()
        if isinstance(connection.sock, ssl.SSLSocket):
            yield from _judge_certificate(url, connection.sock)
        connection.request("GET", f"{parts.path}/readyz")
        response = connection.getresponse()
        ready = _DECODE(response.read())
    except (msgspec.DecodeError, http.client.HTTPException):
        yield Problem("api_down", f"{url} answers, but not as Clew's API does")
    except OSError as fault:
        reason = "no answer" if isinstance(fault, TimeoutError) else fault.strerror or str(fault)
        if isinstance(fault, ssl.SSLCertVerificationError):
            reason = f"its certificate is not trusted: {fault.verify_message}"
        yield Problem("api_down", f"{url}: {reason}")
    else:
        for reason in ready.reasons:
            yield Problem("api_not_ready", f"{url}: {reason}")
    finally:
        connection.close()


def _judge_certificate(url: str, tls: ssl.SSLSocket) -> Iterator[Problem]:
    since, until = (
        datetime.fromtimestamp(ssl.cert_time_to_seconds(str((tls.getpeercert() or {})[name])), UTC)
        for name in ("notBefore", "notAfter")
    )
    yield from judge_dates(f"the certificate of {url}", Validity(until, since), datetime.now(UTC))
