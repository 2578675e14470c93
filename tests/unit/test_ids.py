from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew_events import ids

THREAD = "thread_AbCdEfGhIjKlMnOpQrStUvWx"
MESSAGE = "msg_000001AbCdEfGhIjKlMnOpQr"
UNSAFE = [".", "*", ">", "/", " ", "\n", "\t", "\x00", "é", "😀"]


@given(st.integers(1, ids.MAX_ORDINAL), st.lists(st.text()))
def test_a_message_id_leads_back_to_its_ordinal(ordinal: int, seed: list[str]) -> None:
    made = ids.item_id(ordinal, *seed)
    assert ids.ordinal_of(made) == ordinal
    assert ids.is_message_id(made)


@pytest.mark.parametrize("ordinal", [0, -1, ids.MAX_ORDINAL + 1])
def test_an_ordinal_that_an_id_cannot_carry_is_refused(ordinal: int) -> None:
    with pytest.raises(ValueError, match="ordinal"):
        ids.item_id(ordinal, "seed")


@given(st.integers(1, ids.MAX_ORDINAL - 1))
def test_message_ids_sort_as_their_messages_came(ordinal: int) -> None:
    assert ids.item_id(ordinal, "a") < ids.item_id(ordinal + 1, "b")


def test_derived_ids_are_the_same_for_ever() -> None:
    assert ids.derive_id("thread_", "default", "order-4711") == "thread_TaMw1SuvBO7eQYjYDIUbt8qS"
    assert ids.derive_id("thread_", "default", "order-4712") == "thread_Z0PZ35fCIUEcpYSOO034281R"
    assert ids.item_id(1, "default", "order-4711") == "msg_000001TaMw1SuvBO7eQYjYDI"
    assert ids.item_id(ids.MAX_ORDINAL, "default") == "msg_zzzzzztiq7KPg1JleKJYgfNc"


def test_the_parts_of_a_derived_id_do_not_run_into_each_other() -> None:
    assert ids.derive_id("thread_", "ab", "c") != ids.derive_id("thread_", "a", "bc")


def test_random_ids_have_the_shape_of_the_service_and_differ() -> None:
    made = {ids.random_id("thread_") for _ in range(1000)}
    assert len(made) == 1000
    assert all(ids.is_thread_id(one) and len(one) == len(THREAD) for one in made)


@given(st.lists(st.text(), min_size=1))
def test_a_derived_thread_id_is_a_thread_id(parts: list[str]) -> None:
    assert ids.is_thread_id(ids.derive_id("thread_", *parts))


@pytest.mark.parametrize("unsafe", UNSAFE)
@pytest.mark.parametrize("place", ["inside", "end"])
def test_no_id_holds_what_would_change_a_subject_or_a_key(unsafe: str, place: str) -> None:
    thread = f"thread_{unsafe}1" if place == "inside" else THREAD + unsafe
    message = f"{MESSAGE[:-1]}{unsafe}" if place == "inside" else MESSAGE + unsafe
    tenant = f"de{unsafe}fault" if place == "inside" else f"default{unsafe}"
    assert not ids.is_thread_id(thread)
    assert not ids.is_message_id(message)
    assert not ids.is_tenant(tenant)
    for bad, kind in ((thread, ids.ThreadId), (message, ids.MessageId), (tenant, ids.Tenant)):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(msgspec.json.encode(bad), type=kind)


@given(st.text(max_size=140))
def test_the_types_and_the_questions_agree_on_what_an_id_is(text: str) -> None:
    for question, kind in (
        (ids.is_thread_id, ids.ThreadId),
        (ids.is_message_id, ids.MessageId),
        (ids.is_tenant, ids.Tenant),
    ):
        for candidate in (text, f"thread_{text}", f"msg_{text}"):
            try:
                msgspec.convert(candidate, kind)
                accepted = True
            except msgspec.ValidationError:
                accepted = False
            assert question(candidate) is accepted


@pytest.mark.parametrize(
    ("good", "too_long"),
    [("thread" + "x" * 122, "thread" + "x" * 123), ("thread1", "thread"), (THREAD, "thread_" + "x" * 5000)],
)
def test_a_thread_id_has_a_prefix_and_at_most_128_characters(good: str, too_long: str) -> None:
    assert ids.is_thread_id(good)
    assert not ids.is_thread_id(too_long)


@pytest.mark.parametrize("tenant", ["a", "0", "acme-1", "a_b", "x" * 64])
def test_a_tenant_is_a_short_word_in_lower_case(tenant: str) -> None:
    assert ids.is_tenant(tenant)


@pytest.mark.parametrize("tenant", ["", "_a", "-a", "Acme", "x" * 65])
def test_a_tenant_never_looks_like_a_key_of_the_projectors_own(tenant: str) -> None:
    assert not ids.is_tenant(tenant)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (ids.CommandId, "order-4711/1:2", ["", "a b", "a\n", "é", "x" * 129]),
        (ids.Actor, "Zoë of billing", ["", "a\n", "a\x00b", "x" * 129]),
        (ids.Actor, "monkey:billing/7", ["key:billing/0f3a5c7e9b1d2f40", "key:", "key_0f3a5c7e"]),
        (ids.Actor, "key_account_manager", []),
        (ids.Actor, "http://billing", ["http:0f3a5c7e9b1d2f40", "nats:acme/acme-publisher", "nats:"]),
        (ids.Subject, "_INBOX.abc.1", ["", "a b", "a.*", "a.>", "a\n", "x" * 257]),
    ],
)
def test_what_goes_into_headers_and_reply_subjects_cannot_break_out(kind: object, good: str, bad: list[str]) -> None:
    assert msgspec.convert(good, kind) == good
    for text in bad:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(text, kind)
