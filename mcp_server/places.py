"""Places: the addresses of a person's memory as resources. `me` is whoever asks, so that no address names anybody."""

from typing import Final
from urllib.parse import quote

DOCUMENT: Final = "memory://me/document"
VERSION: Final = "memory://me/document/{version}"
ITEM: Final = "memory://me/items/{namespace}/{key}"
HISTORY: Final = "memory://me/history"


def item_uri(namespace: str, key: str) -> str:
    """Return the address of an item; whatever is in its names is encoded."""
    return f"memory://me/items/{quote(namespace, safe='')}/{quote(key, safe='')}"
