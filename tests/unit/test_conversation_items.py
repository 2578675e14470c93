"""Items as the Conversations API takes and shows them: what it fills in, leaves out, and refuses."""

from __future__ import annotations

import json

import pytest
from msgspec import Raw

from clew_events.errors import Invalid
from clew_services.http.conversation_items import check_items, shown_item


def shown(item: str, *include: str) -> str:
    return bytes(shown_item(Raw(item.encode()), include)).decode()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("item", "wanted"),
    [
        (
            '{"id":"msg_1","role":"user","content":"Hello!"}',
            (
                '{"id":"msg_1","type":"message","status":"completed","role":"user",'
                '"content":[{"type":"input_text","text":"Hello!"}]}'
            ),
        ),
        (
            '{"id":"msg_1","type":"message","role":"assistant","content":"\\u0048i"}',
            (
                '{"id":"msg_1","status":"completed","type":"message","role":"assistant",'
                '"content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"\\u0048i"}]}'
            ),
        ),
        (
            (
                '{"type":"message","status":"in_progress","role":"user","id":"msg_1","content":[{"type":"input_image"},'
                '{"type":"input_text","text":"x","n":1.10}]}'
            ),
            (
                '{"type":"message","status":"in_progress","role":"user","id":"msg_1",'
                '"content":[{"type":"input_image","detail":"auto"},{"type":"input_text","text":"x","n":1.10}]}'
            ),
        ),
        (
            '{"id":"fco_1","call_id":"call_1","output":"1e400","type":"function_call_output"}',
            '{"id":"fco_1","status":"completed","call_id":"call_1","output":"1e400","type":"function_call_output"}',
        ),
    ],
)
def test_what_the_api_fills_in_stands_beside_what_was_given(item: str, wanted: str):
    assert shown(item) == wanted


@pytest.mark.parametrize(
    "item",
    [
        '{"type":"of_tomorrow","id":"own","n":[1.10,1e400,12345678901234567890],"a":{"b":null}}',
        '{"id":"msg_1","type":"message","status":"completed","role":"user","content":[{"type":"of_tomorrow","x":1}]}',
        '{"id":"msg_1","type":"message","status":"completed","role":"user","content":7}',
        '{"id":"msg_1","erased":true}',
    ],
)
def test_what_the_api_does_not_know_is_shown_as_it_was_given(item: str):
    assert shown(item) == item


CONTENT = '{"id":"msg_1","type":"message","status":"completed","role":"user","content":[%s]}'


@pytest.mark.parametrize(
    ("name", "whole", "by_default"),
    [
        (
            "file_search_call.results",
            '{"type":"file_search_call","results":[{"text":"x"}]}',
            '{"type":"file_search_call","results":null}',
        ),
        ("web_search_call.results", '{"type":"web_search_call","results":[1]}', '{"type":"web_search_call"}'),
        (
            "web_search_call.action.sources",
            '{"type":"web_search_call","action":{"type":"search","sources":[1]}}',
            '{"type":"web_search_call","action":{"type":"search"}}',
        ),
        (
            "computer_call_output.output.image_url",
            '{"type":"computer_call_output","status":"failed","output":{"type":"computer_screenshot","image_url":"u"}}',
            '{"type":"computer_call_output","status":"failed","output":{"type":"computer_screenshot"}}',
        ),
        (
            "code_interpreter_call.outputs",
            '{"type":"code_interpreter_call","outputs":[1]}',
            '{"type":"code_interpreter_call","outputs":null}',
        ),
        (
            "reasoning.encrypted_content",
            '{"type":"reasoning","summary":[],"encrypted_content":"e"}',
            '{"type":"reasoning","summary":[]}',
        ),
        (
            "message.input_image.image_url",
            CONTENT % '{"type":"input_image","detail":"low","image_url":"u"}',
            CONTENT % '{"type":"input_image","detail":"low"}',
        ),
        (
            "message.output_text.logprobs",
            CONTENT % '{"type":"output_text","annotations":[],"logprobs":[1],"text":"x"}',
            CONTENT % '{"type":"output_text","annotations":[],"logprobs":[],"text":"x"}',
        ),
    ],
)
def test_what_is_left_out_by_default_is_shown_if_it_is_asked_for(name: str, whole: str, by_default: str):
    assert shown(whole) == by_default
    assert shown(whole, name) == whole


@pytest.mark.parametrize(
    ("item", "param", "said"),
    [
        ({"type": "item_reference", "id": "msg_1"}, "items[1].type", "'item_reference' is not kept"),
        ({"type": "compaction_trigger"}, "items[1].type", "'compaction_trigger' is not kept"),
        ({"type": "reasoning", "id": "reasoning_content"}, "items[1].id", "Expected an ID that begins with 'rs'."),
        ({"role": "user", "content": "x", "id": "1"}, "items[1].id", "Expected an ID that begins with 'msg'."),
        ({"role": "user", "content": 7}, "items[1].content", "expected one of a string or array of objects"),
        ({"role": "user", "content": None}, "items[1].content", "but got null instead"),
        ({"role": "user", "content": ["x"]}, "items[1].content[0]", "expected an object, but got a string"),
        ({"role": "user", "content": [{}]}, "items[1].content[0].type", "Missing required parameter"),
        ("x", "items[1]", "expected an object, but got a string"),
        (Raw(b'{"type":"x","\xff":1}'), "items[1]", "it is not UTF-8 at byte 13"),
        (Raw(b'{"role":"user","\xed\xa0\x80":"a","content":"x"}'), "items[1]", "it is not UTF-8 at byte 16"),
        (Raw(b'{"role":"user","content":[{"type":"input_text","\xff":"a"}]}'), "items[1]", "it is not UTF-8"),
        (Raw(b"1e400"), "items[1]", "expected an object, but got a decimal number"),
        (Raw(b"1" * 5000), "items[1]", "expected an object, but got an integer"),
        (Raw(b'{"role":"user","content":1e400}'), "items[1].content", "objects, but got a decimal number"),
        (Raw(b'{"role":"user","content":{"a":1e400}}'), "items[1].content", "objects, but got an object"),
        (Raw(b'{"role":"user","content":[%s]}' % (b"1" * 5000)), "items[1].content[0]", "but got an integer"),
        (Raw(b'{"role":"user","content":%s}' % (b"[" * 900 + b"]" * 900)), "items[1]", "nested too deeply"),
    ],
)
def test_what_is_no_item_of_the_api_is_refused_by_its_place(item: object, param: str, said: str):
    good = Raw(b'{"type":"function_call_output","id":"fc_1","call_id":"c","output":"x"}')
    with pytest.raises(Invalid) as refused:
        check_items((good, item if isinstance(item, Raw) else Raw(json.dumps(item).encode())))
    assert refused.value.param == param
    assert said in refused.value.message
    check_items((good,))
