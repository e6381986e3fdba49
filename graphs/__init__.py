"""Memory inside LangGraph: the update loop as a graph, as nodes, and as functions."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from usermemory.neighbours import require_neighbour

if TYPE_CHECKING:
    from graphs.checkpointed import CheckpointedConversations
    from graphs.conversation_summarizer import (
        ConversationSummarizer,
        ExtractiveConversationSummarizer,
        ModelConversationSummarizer,
    )
    from graphs.extractive import ExtractiveSummarizer
    from graphs.material import Material, Source, SourceText
    from graphs.messages import amemory_messages, memory_messages
    from graphs.middleware import UserMemoryMiddleware
    from graphs.recap import ConversationRecap, Recap, Transcript
    from graphs.recaps import arecap_conversation, recap_conversation
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
    from graphs.work.schedule import Schedule
    from graphs.work.worker import Worker
    from memory_tools.context import MemoryContext

__all__ = [
    "CheckpointedConversations",
    "ConversationRecap",
    "ConversationSummarizer",
    "ExtractiveConversationSummarizer",
    "ExtractiveSummarizer",
    "Material",
    "MemoryCall",
    "MemoryContext",
    "ModelConversationSummarizer",
    "ModelSummarizer",
    "Recap",
    "Schedule",
    "ScriptedChatModel",
    "Source",
    "SourceText",
    "Summarizer",
    "Summary",
    "Transcript",
    "UpdateResult",
    "UserMemoryMiddleware",
    "Worker",
    "amemory_messages",
    "arecap_conversation",
    "aupdate_memory",
    "build_update_graph",
    "generate_memory_update",
    "memory_load_node",
    "memory_messages",
    "memory_store_node",
    "recap_conversation",
    "update_memory",
    "update_nodes",
]

if find_spec("langchain") is None:  # an extra, and `from ... import *` must do without
    __all__.remove("UserMemoryMiddleware")

_MODULES = {
    "CheckpointedConversations": "graphs.checkpointed",
    "ConversationRecap": "graphs.recap",
    "ConversationSummarizer": "graphs.conversation_summarizer",
    "ExtractiveConversationSummarizer": "graphs.conversation_summarizer",
    "ExtractiveSummarizer": "graphs.extractive",
    "Material": "graphs.material",
    "MemoryCall": "graphs.voice",
    "MemoryContext": "memory_tools.context",
    "ModelConversationSummarizer": "graphs.conversation_summarizer",
    "ModelSummarizer": "graphs.summarizer",
    "Recap": "graphs.recap",
    "Schedule": "graphs.work.schedule",
    "ScriptedChatModel": "graphs.testing",
    "Source": "graphs.material",
    "SourceText": "graphs.material",
    "Summarizer": "graphs.summarizer",
    "Summary": "graphs.summarizer",
    "Transcript": "graphs.recap",
    "UserMemoryMiddleware": "graphs.middleware",
    "Worker": "graphs.work.worker",
    "amemory_messages": "graphs.messages",
    "arecap_conversation": "graphs.recaps",
    "memory_load_node": "graphs.voice",
    "memory_messages": "graphs.messages",
    "memory_store_node": "graphs.voice",
    "recap_conversation": "graphs.recaps",
}

for _neighbour in ("storage", "memory_tools"):
    require_neighbour(_neighbour, beside=__file__)


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used (PEP 562): `import graphs` stays cheap."""
    if name in __all__ or name in _MODULES:
        return getattr(import_module(_MODULES.get(name, "graphs.update")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
