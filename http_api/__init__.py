"""Memory for programs in any language: a FastAPI app to serve or to mount."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from usermemory.neighbours import require_neighbour

if TYPE_CHECKING:
    from http_api.app import create_app
    from http_api.session import SignedCookie

__all__ = ["SignedCookie", "create_app"]

require_neighbour("storage", beside=__file__)
require_neighbour("memory_tools", beside=__file__)

_MODULES = {"create_app": "http_api.app", "SignedCookie": "http_api.session"}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used (PEP 562): `import http_api` stays cheap."""
    if name in __all__:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
