"""The gate: every message is read to the letter before the SDK reads it, over stdio as over HTTP.

The SDK's parsers keep the last of two members with one name and let NaN, NUL and half surrogates through; then what a
client sent and what memory keeps would differ without a word.
"""

import json
from typing import Any, Final

from mcp_types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError, JSONRPCResponse

from mcp_server.failures import failed, told
from storage.canonical import INTEGER_LIMIT, parse
from storage.errors import InvalidInput, InvalidJson, UserMemoryError
from storage.refusals import is_unicode

BODY_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of one message."""


def objection(message: bytes | str) -> JSONRPCError | JSONRPCResponse | None:
    """Return what answers a message that may not pass; None for one that may.

    A call of a tool is answered as a tool that failed, so that the model reads why; anything else by an error of the
    protocol.
    """
    try:
        read = parse(message, limit=BODY_LIMIT)
        if not (isinstance(read, dict) and read.get("jsonrpc") == "2.0"):  # over stdio the SDK would say nothing
            raise InvalidInput("a message is one JSON-RPC 2.0 object")
    except UserMemoryError as error:
        method, identifier = _asked(message)
        if method == "tools/call" and identifier is not None:
            result = failed(told(error)).model_dump(mode="json", by_alias=True, exclude_none=True)
            return JSONRPCResponse(jsonrpc="2.0", id=identifier, result=result)
        code = PARSE_ERROR if isinstance(error, InvalidJson) else INVALID_REQUEST
        data = ErrorData(code=code, message=told(error), data={"code": error.code})
        return JSONRPCError(jsonrpc="2.0", id=identifier, error=data)
    return None


def _asked(message: bytes | str) -> tuple[object, str | int | None]:
    """Return the method and the id of a message, where it lets them be found: the answer has to carry the id."""
    if len(message) > BODY_LIMIT:
        return None, None
    try:
        read: Any = json.loads(message)
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(read, dict):
        return None, None
    identifier = read.get("id")
    return read.get("method"), identifier if _can_be_sent_back(identifier) else None


def _can_be_sent_back(identifier: object) -> bool:
    if isinstance(identifier, str):
        return is_unicode(identifier)
    return type(identifier) is int and abs(identifier) < INTEGER_LIMIT
