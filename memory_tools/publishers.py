"""Publishers: which publisher is meant, by its URL: Redis, a webhook, or nobody."""

from typing import Final
from urllib.parse import urlsplit

from memory_tools.publisher import Publisher
from storage.errors import InvalidInput

NOBODY: Final = "none"
"""What stands in the place of a URL where nobody is told."""


def open_publisher(spec: str | None, secret: str | None = None) -> Publisher | None:
    """Return who is told of events at the URL `spec`; None for None and for `none`.

    `redis://` and `rediss://` publish on the channel `user-updates`; `https://` is a webhook, whose requests are signed
    with `secret`, and so is `http://` on this machine alone. Nothing is connected to yet. Raises InvalidInput, which
    does not repeat the URL, for any other, for a webhook without a secret, and where the extra `redis` is missing.
    """
    if spec is None or spec == NOBODY:
        return None
    scheme = _scheme(spec)
    if scheme in ("redis", "rediss"):
        from memory_tools.redis_publisher import RedisPublisher  # noqa: PLC0415 - an extra

        return RedisPublisher(spec)
    if scheme in ("http", "https"):
        from memory_tools.webhook import Webhook  # noqa: PLC0415 - http.client and ssl, for whoever has a webhook

        return Webhook(spec, secret)
    raise InvalidInput("events are published to redis://..., rediss://..., a webhook at https://..., or none")


def _scheme(spec: str) -> str:
    try:
        return urlsplit(spec).scheme
    except ValueError:  # it quotes the host, and a URL may hold a password
        raise InvalidInput("the URL that events are published to cannot be read") from None
