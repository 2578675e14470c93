"""What is kept of an issued key, and what is made of it."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

import msgspec
import pytest

from clew_events.errors import Invalid
from clew_events.ids import ACTOR_PATTERN
from clew_services.api_keys import SCOPES
from clew_services.api_keys.holders import REMEMBERED, Holder, Keys
from clew_services.api_keys.key_bucket import id_of, is_id, issue_key, read

STORED = (
    b'{"sha256":"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683","tenant":"acme","name":"billing",'
    b'"scopes":["read","write"],"created_at":"2026-11-23T12:00:00Z","revoked_at":null,"last_used_at":null}'
)


def test_a_key_is_long_and_random_and_only_its_digest_is_kept() -> None:
    key, issued = issue_key("acme", "billing", ["write", "read", "read"])
    assert re.fullmatch("clew_[0-9A-Za-z]{40}", key)
    assert issued.sha256 == hashlib.sha256(key.encode()).hexdigest()
    assert key[5:] not in msgspec.json.encode(issued).decode()
    assert issue_key("acme", "billing", ["read"])[0] != key


def test_a_key_is_called_by_the_beginning_of_its_digest() -> None:
    key, issued = issue_key("acme", "billing", ["read"])
    assert issued.id == hashlib.sha256(key.encode()).hexdigest()[:16] == id_of(issued.digest)
    assert is_id(issued.id)


def test_a_key_signs_with_its_name_and_its_id() -> None:
    _, issued = issue_key("a" * 64, "n" * 64, ["read"])
    assert issued.holder.actor == f"key:{'n' * 64}/{issued.id}"
    assert len(issued.holder.actor) <= 128
    configured = Keys.parse(f"clew_{'a' * 32}:acme").holder(f"clew_{'a' * 32}")
    assert configured is not None
    for actor in (issued.holder.actor, configured.actor):
        assert re.fullmatch(ACTOR_PATTERN, actor) is None, "a caller who names itself can say this"


def test_scopes_are_kept_once_and_in_their_order_and_admin_is_all_of_them() -> None:
    assert issue_key("acme", "billing", ["write", "read", "write"])[1].scopes == ("read", "write")
    assert issue_key("acme", "billing", ["audit"])[1].holder.scopes == {"audit"}
    assert issue_key("acme", "boss", ["admin"])[1].holder.scopes == set(SCOPES)


@pytest.mark.parametrize(
    ("tenant", "name", "scopes", "at_fault"),
    [
        ("Acme", "billing", ["read"], "tenant"),
        ("", "billing", ["read"], "tenant"),
        ("acme", "", ["read"], "name"),
        ("acme", "-x", ["read"], "name"),
        ("acme", "a/b", ["read"], "name"),
        ("acme", "a\n", ["read"], "name"),
        ("acme", "n" * 65, ["read"], "name"),
        ("acme", "billing", [], "scopes"),
        ("acme", "billing", ["read", "root"], "scopes"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_issued(tenant: str, name: str, scopes: list, at_fault: str) -> None:
    with pytest.raises(Invalid) as refusal:
        issue_key(tenant, name, scopes)
    assert refusal.value.param == at_fault


def test_what_is_kept_is_read_for_ever() -> None:
    key_id = "2c70e12b7a0646f9"
    issued = read(key_id, STORED)
    assert issued is not None
    assert issued.created_at == datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert issued.holder == Holder("acme", f"key:billing/{key_id}", frozenset({"read", "write"}), key_id)
    assert msgspec.json.encode(issued) == STORED
    assert read(key_id, STORED[:-1] + b',"added_later":1}') == issued


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        STORED[:-1],
        STORED.replace(b'"acme"', b'"*"'),
        STORED.replace(b'["read","write"]', b"[]"),
        STORED.replace(b'["read","write"]', b'["read","root"]'),
        STORED.replace(b"2c70", b"3c70"),
    ],
)
def test_what_cannot_be_read_opens_nothing(body: bytes) -> None:
    assert read("2c70e12b7a0646f9", body) is None


def test_a_configured_key_is_neither_shut_out_nor_narrowed_by_an_issued_one() -> None:
    keys = Keys.parse("first-key-of-ours:acme")
    digest = hashlib.sha256(b"first-key-of-ours").digest()
    holder = keys.holder("first-key-of-ours")
    keys.admit(digest, Holder("globex", "key:thief/0", frozenset({"read"})))
    assert keys.holder("first-key-of-ours") == holder
    keys.shut_out(digest)
    assert keys.holder("first-key-of-ours") == holder


def test_a_key_that_was_shut_out_opens_nothing_until_it_is_let_in_again() -> None:
    keys, holder = Keys(), Holder("acme", "key:billing/0")
    digest = hashlib.sha256(b"some-key").digest()
    assert keys.holder("some-key") is None
    keys.admit(digest, holder)
    assert keys.holder("some-key", b"Bearer some-key") == keys.recall(b"Bearer some-key") == holder
    keys.shut_out(digest)
    keys.shut_out(digest)
    assert keys.holder("some-key") is keys.recall(b"Bearer some-key") is None
    keys.admit(digest, holder._replace(scopes=frozenset({"read"})))
    assert keys.recall(b"Bearer some-key") == keys.holder("some-key") != holder


def test_what_is_remembered_of_a_header_is_bounded_and_does_not_show_the_key() -> None:
    keys = Keys.parse("first-key-of-ours:acme")
    for spaces in range(REMEMBERED + 1):
        assert keys.holder("first-key-of-ours", b"Bearer first-key-of-ours" + b" " * spaces) is not None
    assert keys.recall(b"Bearer first-key-of-ours") is None
    assert keys.recall(b"Bearer first-key-of-ours" + b" " * REMEMBERED) == keys.holder("first-key-of-ours")
    assert "first-key-of-ours" not in repr(vars(keys))


def test_the_keys_in_use_are_told_once_each_and_strangers_are_not_told() -> None:
    keys = Keys.parse("first-key-of-ours:acme,second-key-of-ours:acme")
    for key in ("first-key-of-ours", "first-key-of-ours", "a-stranger"):
        keys.holder(key)
    assert keys.take_used() == {hashlib.sha256(b"first-key-of-ours").digest()}
    assert keys.take_used() == set()
