"""API keys and whom they stand for."""

from __future__ import annotations

import hashlib

import pytest

from clew_events.errors import Invalid
from clew_services.api_keys import Holder, Keys


def test_a_key_opens_its_tenant_and_signs_with_its_fingerprint():
    keys = Keys.parse("first-key-of-ours:acme, second-key-of-ours:globex")
    assert len(keys) == 2
    fingerprint = hashlib.sha256(b"second-key-of-ours").hexdigest()[:16]
    holder = keys.holder("second-key-of-ours")
    assert holder == Holder("globex", f"key_{fingerprint[:8]}", key=fingerprint)
    assert holder.by == f"http:{fingerprint}"


def test_two_keys_may_open_one_tenant_and_are_told_apart():
    keys = Keys.parse("first-key-of-ours:acme,second-key-of-ours:acme")
    first, second = keys.holder("first-key-of-ours"), keys.holder("second-key-of-ours")
    assert first is not None
    assert second is not None
    assert first.tenant == second.tenant == "acme"
    assert first.actor != second.actor


def test_a_key_may_have_colons_in_it():
    assert Keys.parse("sk:with:colons:in:it:acme").holder("sk:with:colons:in:it") is not None


@pytest.mark.parametrize(
    "key", ["", "first-ke", "first-key-of-ours ", "FIRST-KEY", "first-key-of-ours:acme", "\udcff", "\x00"]
)
def test_nobody_holds_a_key_that_was_not_given_out(key: str):
    assert Keys.parse("first-key-of-ours:acme").holder(key) is None


def test_no_text_is_no_keys():
    assert len(Keys.parse("")) == len(Keys.parse("  ")) == 0


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("secret-key-of-ours", 1),
        ("secret-key-of-ours:", 1),
        ("secret:acme", 1),
        ("a-secret-of-15-c:acme,secret-of-15-ch:acme", 2),
        ("secret key:acme", 1),
        ("secret-kéy:acme", 1),
        ("secret-key-of-ours:Acme", 1),
        ("secret-key-of-ours:a.b", 1),
        ("first-key-of-ours:acme,secret-key-of-ours:*", 2),
        ("first-key-of-ours:acme,", 2),
        ("secret-key-of-ours:acme,secret-key-of-ours:globex", 2),
    ],
)
def test_an_entry_that_cannot_be_one_is_named_by_its_place_and_never_shown(text: str, place: int):
    with pytest.raises(Invalid) as refusal:
        Keys.parse(text)
    assert refusal.value.message.startswith(f"API key {place} (CLEW_API_KEYS): ")
    assert refusal.value.param == "api_keys"
    assert "secret" not in refusal.value.message


def test_keys_do_not_show_themselves():
    keys = Keys.parse("first-key-of-ours:acme")
    assert "first-key-of-ours" not in repr(keys) + repr(vars(keys))
