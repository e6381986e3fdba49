"""What may be asked of memory: an open database, a person's memory, and the catalog of operations."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from usermemory.neighbours import require_neighbour

if TYPE_CHECKING:
    from memory_tools.memory import Memory, UserMemory

__all__ = ["Memory", "UserMemory"]

require_neighbour("storage", beside=__file__)


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used (PEP 562): `import memory_tools` stays cheap."""
    if name in __all__:
        return getattr(import_module("memory_tools.memory"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
