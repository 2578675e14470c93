from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import nats.aio.client
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from clew_events.ids import is_actor
from clew_services.nats_api.caller import REQUEST_INFO, caller_of
from clew_services.nats_api.tolerant_client import TolerantClient

IMPORTED = "clew.imported.acme.create_thread"
REPLY = "_R_.8czMvG.1di3DQ"
INFO = {"start": "2026-11-28T19:27:32.299430871Z", "host": "127.0.0.1", "id": 13, "acc": "acme",
        "user": "acme-publisher", "rtt": 348650, "server": "clew", "kind": "Client", "client_type": "nats"}  # fmt: skip


def called(subject: str = IMPORTED, reply: str = REPLY, header: str | None = None, **changes: object) -> str:
    headers = {REQUEST_INFO: json.dumps(INFO | changes) if header is None else header}
    return caller_of(Msg(Client(), subject=subject, reply=reply, data=b"{}", headers=headers))


def test_a_caller_through_an_import_is_known_by_account_and_user() -> None:
    assert called() == "nats:acme/acme-publisher"
    assert called(client_type="mqtt", svc="partner", acc="shop") == "nats:shop/acme-publisher"


@pytest.mark.parametrize(
    ("subject", "reply"),
    [
        ("clew.cmd.acme.create_thread", REPLY), ("clew.importedx.acme.create_thread", REPLY), (IMPORTED, ""),
        (IMPORTED, "_INBOX.abc.def"), (IMPORTED, "x._R_.abc"), (IMPORTED, "_R_"), (IMPORTED, "_GR_.abc.def._R_.abc"),
    ],
)  # fmt: skip
def test_elsewhere_the_header_counts_for_nothing(subject: str, reply: str) -> None:
    assert called(subject, reply) == "nats"


@pytest.mark.parametrize(
    "header",
    [
        "", "{}", "[]", "null", "acme", "{", json.dumps(INFO) + "x", '{"acc":"acme","kind":"Client"}',
        '{"user":"a","kind":"Client"}', '{"acc":"acme","user":"a"}', '{"acc":"acme","user":"\\ud800","kind":"Client"}',
    ],
)  # fmt: skip
def test_a_header_that_does_not_say_it_all_counts_for_nothing(header: str) -> None:
    assert called(header=header) == "nats"


@pytest.mark.parametrize(
    "changes",
    [
        {"acc": ""}, {"user": ""}, {"acc": 7}, {"user": None}, {"user": ["a"]}, {"user": "a\ufffd"},
        {"kind": "Leafnode"}, {"kind": "JetStream"}, {"kind": ""}, {"jwt": "eyJ0eXAiOiJKV1QifQ.e30.x"},
    ],
)  # fmt: skip
def test_who_is_not_a_client_whose_name_the_server_checked_is_not_named(changes: dict[str, object]) -> None:
    assert called(**changes) == "nats"


def test_without_headers_nobody_is_known() -> None:
    assert caller_of(Msg(Client(), subject=IMPORTED, reply=REPLY, data=b"{}", headers=None)) == "nats"


NKEY = "UBRYFM6MRAKBFN337SXO2ATAAHAA3HRQEXTGYIHW47US6B4YKFDCURCQ"
NAMES = [
    "a", "A", "a/b", "a%2Fb", "a%", "*", ">", "a b", "a\n", "\x00", "ü", "u\u0308", "sha256:0", NKEY, "a" * 60,
    "a" * 61, "a" * 1000, "ü" * 10, "ü" * 11, "/" * 20, "/" * 21, "[REDACTED]", "..", "~",
]  # fmt: skip


def test_names_stay_apart_whatever_is_in_them_and_fit_into_a_filter() -> None:
    named = [called(acc=account, user=user) for account in NAMES for user in NAMES]
    assert len({*named}) == len(NAMES) ** 2
    for name in named:
        assert len(name) <= 126
        assert name.isascii()
        assert name.isprintable()
        assert name.count("/") == 1
        assert not {*name} & {" ", "*", ">", '"', "\\"}
        assert not is_actor(name), "a caller who names itself can say this"
    assert called(user=NKEY) == f"nats:acme/{NKEY}"
    assert called(user="Zoë /*") == "nats:acme/Zo%C3%AB%20%2F%2A"


def test_what_the_server_appends_counts_whichever_way_headers_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    block = (
        b'NATS/1.0\r\na: Nats-Request-InfoNats-Request-Info\r\nNats-Request-Info: {"user":"boss"}\r\n'
        b'no header\r\nNats-Request-Info: {"user":"billing"}\r\n\r\n'
    )
    ended = {"a": "Nats-Request-InfoNats-Request-Info", REQUEST_INFO: '{"user":"boss"}'}
    monkeypatch.setattr(nats.aio.client, "parse_email", lambda _: SimpleNamespace(headers={**ended}))
    assert asyncio.run(Client()._process_headers(block)) == ended
    parsed = asyncio.run(TolerantClient()._process_headers(block))
    assert parsed is not None
    assert parsed[REQUEST_INFO] == '{"user":"billing"}'
