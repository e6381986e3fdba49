"""Tools as the tests call them."""

from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from memory_tools.context import MemoryContext

VICTIM = "victim"


def call(name: str, arguments: dict[str, Any]) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": "c1", "type": "tool_call"}])


def graph_of(tools: list[BaseTool], context_schema: type | None = MemoryContext) -> Any:
    builder: Any = StateGraph(MessagesState, context_schema)
    builder.add_node("tools", ToolNode(tools))
    builder.add_edge(START, "tools")
    return builder.compile()
