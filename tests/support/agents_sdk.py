"""A script in place of a model, for OpenAI's Agents SDK, which whoever calls this has imported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage


def script(*turns: list[Any]) -> Any:
    """A model that answers what it was given to answer, and remembers what it was ``asked``."""
    from agents import ModelResponse, Usage
    from agents.models.interface import Model
    from openai.types.responses import Response, ResponseCompletedEvent

    class Script(Model):
        def __init__(self) -> None:
            self._turns = list(turns)
            self.asked: list[list[Any]] = []

        async def get_response(self, *_: Any, **asked: Any) -> ModelResponse:
            self.asked.append(asked["input"])
            return ModelResponse(output=self._turns.pop(0), usage=Usage(), response_id=None)

        async def stream_response(self, _: object, asked: Any, *__: Any, **___: Any) -> AsyncIterator[Any]:
            self.asked.append(asked)
            response = Response(
                id="resp_1", created_at=0, model="script", object="response", output=self._turns.pop(0),
                parallel_tool_calls=False, tool_choice="auto", tools=[],
            )  # fmt: skip
            yield ResponseCompletedEvent(type="response.completed", response=response, sequence_number=0)

    return Script()


def says(text: str) -> ResponseOutputMessage:
    from openai.types.responses import ResponseOutputMessage, ResponseOutputText

    part = ResponseOutputText(type="output_text", text=text, annotations=[])
    return ResponseOutputMessage(id="msg_1", type="message", role="assistant", status="completed", content=[part])


def calls(name: str, call_id: str, arguments: str = "{}") -> ResponseFunctionToolCall:
    from openai.types.responses import ResponseFunctionToolCall

    return ResponseFunctionToolCall(
        id="fc_1", type="function_call", call_id=call_id, name=name, arguments=arguments, status="completed"
    )
