"""JSON types: how JSON values are named in signatures."""

from typing import Any, TypeAlias

Json: TypeAlias = Any
"""None, bool, int, float, str, or a list or a str-keyed dict of these."""

Document: TypeAlias = dict[str, Any]
"""A person's memory as one JSON object."""

PatchOperation: TypeAlias = dict[str, Any]
"""One operation of RFC 6902: `op`, `path`, and `value` or `from` where the operation takes one."""

Patch: TypeAlias = list[PatchOperation]
"""A JSON Patch (RFC 6902): operations that are applied in order, all or none."""
