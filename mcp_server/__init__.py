"""Memory for MCP clients: a server to run over stdio, or an ASGI app to mount."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from usermemory.neighbours import require_neighbour

if TYPE_CHECKING:
    from mcp_server.app import create_app
    from mcp_server.server import create_server

__all__ = ["create_app", "create_server"]

require_neighbour("storage", beside=__file__)
require_neighbour("memory_tools", beside=__file__)

_MODULES = {"create_app": "mcp_server.app", "create_server": "mcp_server.server"}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used (PEP 562): `import mcp_server` stays cheap."""
    if name in __all__:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
