"""A chain of LangChain whose messages are in Clew: pip install 'clew[langchain]'."""

import os

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from clew_adapters.langchain import ClewChatMessageHistory
from clew_events.client.sync import connect

# Stands where a chat model would, so that this runs without one.
model = RunnableLambda(lambda messages: AIMessage(f"You said {(len(messages) + 1) // 2} things."))

with connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"), actor="clerk") as clew:
    # One line: where to keep the messages of a session.
    chain = RunnableWithMessageHistory(model, lambda session_id: ClewChatMessageHistory(clew, session_id))
    for text in ("Where is my parcel?", "And now?"):
        answer = chain.invoke([HumanMessage(text)], {"configurable": {"session_id": "order 1042"}})
        print(answer.content)
    for message in ClewChatMessageHistory(clew, "order 1042").messages:
        print(f"{message.type}: {message.content}")
