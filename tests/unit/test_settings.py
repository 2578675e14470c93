"""Settings: right as soon as they exist, and refused in words that name the option and the variable."""

from __future__ import annotations

import pytest

from clew_events.errors import Invalid
from clew_services.settings import Address, Settings


def test_the_defaults_are_what_the_documentation_says() -> None:
    settings = Settings()
    assert settings.http_address == Address("127.0.0.1", 8787)
    assert settings.nats_url == "nats://127.0.0.1:4222"
    assert settings.embedded_port == 4222
    assert settings.data_folder.is_absolute()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data", ""),
        *(("http", value) for value in ("8787", ":8787", "localhost", "localhost:", "a:-1", "a:65536", "a:\u0661")),
        *(
            ("nats", value)
            for value in ("", ",", "nats://a,b", "localhost", "http://a:1", "nats://", "nats://a:b", "embedded:x")
        ),
        ("nats", "embedded:65536"),
        ("shards", 0),
        ("shards", 65),
        ("replicas", 2),
        ("prove_rate", -1),
        *((name, value) for name in ("checkpoints", "index_snapshots") for value in ("", "often", "5", "0s", "-1m")),
        *(("sync", value) for value in ("", "never", "2", "0s", "2m jetstream", "-2m")),
        ("max_body", 10),
        ("max_body", 9 * 1024 * 1024),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_option_and_variable(name: str, value: str | int) -> None:
    with pytest.raises(Invalid) as refusal:
        Settings(**{name: value})
    assert refusal.value.param == name
    assert f"--{name.replace('_', '-')} (CLEW_{name.upper()}) is {value!r}" in refusal.value.message


@pytest.mark.parametrize("value", ["always", "2m", "500ms", "1h30m"])
def test_sync_is_always_or_an_interval_as_nats_writes_it(value: str) -> None:
    assert Settings(sync=value).sync == value


def test_an_interval_is_given_in_seconds_and_0_is_never() -> None:
    assert Settings(index_snapshots="1h30m").index_snapshot_seconds == 5400
    assert Settings(index_snapshots="0").index_snapshot_seconds == 0


def test_an_address_may_be_of_ipv6() -> None:
    assert Settings(http="[::1]:80").http_address == Address("::1", 80)
    assert str(Address("::1", 80)) == "[::1]:80"


@pytest.mark.parametrize(
    ("nats", "port", "url"),
    [
        ("embedded", 4222, "nats://127.0.0.1:4222"),
        ("embedded:99", 99, "nats://127.0.0.1:99"),
        ("nats://a:4222,tls://b", None, "nats://a:4222,tls://b"),
        ("tls://a", None, "tls://a"),
    ],
)
def test_nats_is_embedded_or_elsewhere(nats: str, port: int | None, url: str) -> None:
    settings = Settings(nats=nats)
    assert settings.embedded_port == port
    assert settings.nats_url == url


def test_a_client_cannot_find_a_server_on_any_free_port() -> None:
    assert Settings(nats="embedded:0").embedded_port == 0
    with pytest.raises(Invalid, match="the URL that 'clew up' printed"):
        _ = Settings(nats="embedded:0").nats_url
