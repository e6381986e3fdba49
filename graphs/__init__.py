"""Memory inside LangGraph: the update loop as a graph, as nodes, and as functions."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from usermemory.neighbours import require_neighbour

if TYPE_CHECKING:
    from graphs.context import MemoryContext
    from graphs.extractive import ExtractiveSummarizer
    from graphs.material import Material, Source, SourceText
    from graphs.summarizer import ModelSummarizer, Summarizer, Summary
    from graphs.update import (
        UpdateResult,
        aupdate_memory,
        build_update_graph,
        generate_memory_update,
        update_memory,
        update_nodes,
    )

__all__ = [
    "ExtractiveSummarizer",
    "Material",
    "MemoryContext",
    "ModelSummarizer",
    "Source",
    "SourceText",
    "Summarizer",
    "Summary",
    "UpdateResult",
    "aupdate_memory",
    "build_update_graph",
    "generate_memory_update",
    "update_memory",
    "update_nodes",
]

_MODULES = {
    "ExtractiveSummarizer": "graphs.extractive",
    "Material": "graphs.material",
    "MemoryContext": "graphs.context",
    "ModelSummarizer": "graphs.summarizer",
    "Source": "graphs.material",
    "SourceText": "graphs.material",
    "Summarizer": "graphs.summarizer",
    "Summary": "graphs.summarizer",
}

for _neighbour in ("storage", "memory_tools"):
    require_neighbour(_neighbour, beside=__file__)


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used (PEP 562): `import graphs` stays cheap."""
    if name in __all__:
        return getattr(import_module(_MODULES.get(name, "graphs.update")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
