"""usermemory: long-term user memory for LLM agents.

The public names, each imported from its home when it is first used (PEP 562): `import usermemory` loads no framework.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from usermemory.neighbours import require_neighbour

if TYPE_CHECKING:
    from graphs.checkpointed import CheckpointedConversations
    from graphs.messages import amemory_messages, memory_messages
    from graphs.middleware import UserMemoryMiddleware
    from graphs.testing import ScriptedChatModel
    from graphs.update import aupdate_memory, build_update_graph, generate_memory_update, update_memory
    from graphs.voice import MemoryCall, memory_load_node, memory_store_node
    from graphs.work.worker import Worker
    from memory_tools.context import MemoryContext
    from memory_tools.host_conversations import HostConversation
    from memory_tools.langchain import get_user_memory_tools
    from memory_tools.memory import Memory, UserMemory
    from memory_tools.run import Run
    from memory_tools.upkeep import Upkeep
    from storage.configuration import MemoryConfiguration
    from storage.document import MemoryDocument
    from storage.errors import (
        AccessDenied,
        Conflict,
        DatabaseError,
        DatabaseUnavailable,
        Erased,
        IdempotencyKeyReused,
        IdentityConflict,
        InsufficientScope,
        InvalidDocument,
        InvalidIdentity,
        InvalidInput,
        InvalidJson,
        InvalidName,
        InvalidPatch,
        InvalidTranscript,
        MemoryDisabled,
        NoIdentity,
        NotFound,
        NotMigrated,
        PatchDoesNotApply,
        RateLimited,
        SummarizerFailed,
        TimedOut,
        TooLarge,
        Unauthenticated,
        UnsafeRole,
        UntrustedSource,
        UserMemoryError,
        VersionConflict,
    )
    from storage.guard import GuardRules
    from storage.policy import DocumentPolicy
    from storage.provenance import Provenance
    from storage.reconstruct import reconstruct_memory, save_new_snapshot
    from storage.settings import DatabaseSettings
    from storage.trust import Trust

    __version__: str

__all__ = [
    "AccessDenied",
    "CheckpointedConversations",
    "Conflict",
    "DatabaseError",
    "DatabaseSettings",
    "DatabaseUnavailable",
    "DocumentPolicy",
    "Erased",
    "GuardRules",
    "HostConversation",
    "IdempotencyKeyReused",
    "IdentityConflict",
    "InsufficientScope",
    "InvalidDocument",
    "InvalidIdentity",
    "InvalidInput",
    "InvalidJson",
    "InvalidName",
    "InvalidPatch",
    "InvalidTranscript",
    "Memory",
    "MemoryCall",
    "MemoryConfiguration",
    "MemoryContext",
    "MemoryDisabled",
    "MemoryDocument",
    "NoIdentity",
    "NotFound",
    "NotMigrated",
    "PatchDoesNotApply",
    "Provenance",
    "RateLimited",
    "Run",
    "ScriptedChatModel",
    "SummarizerFailed",
    "TimedOut",
    "TooLarge",
    "Trust",
    "Unauthenticated",
    "UnsafeRole",
    "UntrustedSource",
    "Upkeep",
    "UserMemory",
    "UserMemoryError",
    "UserMemoryMiddleware",
    "VersionConflict",
    "Worker",
    "amemory_messages",
    "aupdate_memory",
    "build_update_graph",
    "generate_memory_update",
    "get_user_memory_tools",
    "memory_load_node",
    "memory_messages",
    "memory_store_node",
    "reconstruct_memory",
    "save_new_snapshot",
    "update_memory",
]

if find_spec("langchain") is None:  # an extra, and `from ... import *` must do without
    __all__.remove("UserMemoryMiddleware")

_HOME = {
    "CheckpointedConversations": "graphs.checkpointed",
    "HostConversation": "memory_tools.host_conversations",
    "Upkeep": "memory_tools.upkeep",
    "Worker": "graphs.work.worker",
    "Memory": "memory_tools.memory",
    "UserMemory": "memory_tools.memory",
    "MemoryDocument": "storage.document",
    "GuardRules": "storage.guard",
    "DocumentPolicy": "storage.policy",
    "Provenance": "storage.provenance",
    "DatabaseSettings": "storage.settings",
    "reconstruct_memory": "storage.reconstruct",
    "save_new_snapshot": "storage.reconstruct",
    "MemoryContext": "memory_tools.context",
    "Run": "memory_tools.run",
    "ScriptedChatModel": "graphs.testing",
    "aupdate_memory": "graphs.update",
    "build_update_graph": "graphs.update",
    "generate_memory_update": "graphs.update",
    "update_memory": "graphs.update",
    "MemoryCall": "graphs.voice",
    "UserMemoryMiddleware": "graphs.middleware",
    "amemory_messages": "graphs.messages",
    "memory_load_node": "graphs.voice",
    "memory_messages": "graphs.messages",
    "memory_store_node": "graphs.voice",
    "get_user_memory_tools": "memory_tools.langchain",
    "MemoryConfiguration": "storage.configuration",
    "Trust": "storage.trust",
}
"""Where the public names live; those that are not listed are errors."""

for _name in ("storage", "memory_tools", "graphs", "http_api", "mcp_server"):
    require_neighbour(_name, beside=__file__)


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name in __all__ or name in _HOME:
        return getattr(import_module(_HOME.get(name, "storage.errors")), name)
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - as much time as the rest of this module

        return version("usermemory")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names too, although they are not imported yet."""
    return sorted({*globals(), *__all__})
