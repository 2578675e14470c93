"""API keys and whom they stand for."""

from __future__ import annotations

import hashlib

import pytest

from clew_events.errors import Invalid
from clew_services.api_keys import Holder, Keys


def test_a_key_opens_its_tenant_and_signs_with_its_fingerprint():
    keys = Keys.parse("first-key:acme, second-key:globex")
    assert len(keys) == 2
    fingerprint = hashlib.sha256(b"second-key").hexdigest()[:16]
    holder = keys.holder("second-key")
    assert holder == Holder("globex", f"key_{fingerprint[:8]}", key=fingerprint)
    assert holder.by == f"http:{fingerprint}"


def test_two_keys_may_open_one_tenant_and_are_told_apart():
    keys = Keys.parse("first-key:acme,second-key:acme")
    first, second = keys.holder("first-key"), keys.holder("second-key")
    assert first is not None
    assert second is not None
    assert first.tenant == second.tenant == "acme"
    assert first.actor != second.actor


def test_a_key_may_have_colons_in_it():
    assert Keys.parse("sk:with:colons:acme").holder("sk:with:colons") is not None


@pytest.mark.parametrize("key", ["", "first-ke", "first-key ", "FIRST-KEY", "first-key:acme", "\udcff", "\x00"])
def test_nobody_holds_a_key_that_was_not_given_out(key: str):
    assert Keys.parse("first-key:acme").holder(key) is None


def test_no_text_is_no_keys():
    assert len(Keys.parse("")) == len(Keys.parse("  ")) == 0


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("secret-key", 1),
        ("secret-key:", 1),
        ("secret:acme", 1),
        ("secret key:acme", 1),
        ("secret-kéy:acme", 1),
        ("secret-key:Acme", 1),
        ("secret-key:a.b", 1),
        ("first-key:acme,secret-key:*", 2),
        ("first-key:acme,", 2),
        ("secret-key:acme,secret-key:globex", 2),
    ],
)
def test_an_entry_that_cannot_be_one_is_named_by_its_place_and_never_shown(text: str, place: int):
    with pytest.raises(Invalid) as refusal:
        Keys.parse(text)
    assert refusal.value.message.startswith(f"API key {place} (CLEW_API_KEYS): ")
    assert refusal.value.param == "api_keys"
    assert "secret" not in refusal.value.message


def test_keys_do_not_show_themselves():
    keys = Keys.parse("first-key:acme")
    assert "first-key" not in repr(keys) + repr(vars(keys))
