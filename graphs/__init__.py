"""Memory inside LangGraph: the update loop as a graph, as nodes, and as functions."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from usermemory.neighbours import require_neighbour

if TYPE_CHECKING:
    from graphs.extractive import ExtractiveSummarizer
    from graphs.material import Material, Source, SourceText
    from graphs.messages import amemory_messages, memory_messages
    from graphs.middleware import UserMemoryMiddleware
    from graphs.summarizer import ModelSummarizer, Summarizer, Summary
    from graphs.testing import ScriptedChatModel
    from graphs.update import (
        UpdateResult,
        aupdate_memory,
        build_update_graph,
        generate_memory_update,
        update_memory,
        update_nodes,
    )
    from graphs.voice import MemoryCall, memory_load_node, memory_store_node
    from memory_tools.context import MemoryContext

__all__ = [
    "ExtractiveSummarizer",
    "Material",
    "MemoryCall",
    "MemoryContext",
    "ModelSummarizer",
    "ScriptedChatModel",
    "Source",
    "SourceText",
    "Summarizer",
    "Summary",
    "UpdateResult",
    "UserMemoryMiddleware",
    "amemory_messages",
    "aupdate_memory",
    "build_update_graph",
    "generate_memory_update",
    "memory_load_node",
    "memory_messages",
    "memory_store_node",
    "update_memory",
    "update_nodes",
]

if find_spec("langchain") is None:  # an extra, and `from ... import *` must do without
    __all__.remove("UserMemoryMiddleware")

_MODULES = {
    "ExtractiveSummarizer": "graphs.extractive",
    "Material": "graphs.material",
    "MemoryCall": "graphs.voice",
    "MemoryContext": "memory_tools.context",
    "ModelSummarizer": "graphs.summarizer",
    "ScriptedChatModel": "graphs.testing",
    "Source": "graphs.material",
    "SourceText": "graphs.material",
    "Summarizer": "graphs.summarizer",
    "Summary": "graphs.summarizer",
    "UserMemoryMiddleware": "graphs.middleware",
    "amemory_messages": "graphs.messages",
    "memory_load_node": "graphs.voice",
    "memory_messages": "graphs.messages",
    "memory_store_node": "graphs.voice",
}

for _neighbour in ("storage", "memory_tools"):
    require_neighbour(_neighbour, beside=__file__)


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used (PEP 562): `import graphs` stays cheap."""
    if name in __all__ or name in _MODULES:
        return getattr(import_module(_MODULES.get(name, "graphs.update")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
