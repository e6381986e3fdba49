"""Joining: what a patch removes in one place and adds in another, it moves."""

from typing import TypeAlias

from storage.equality import comparable
from storage.json_types import Json, Patch, PatchOperation

Removal: TypeAlias = tuple[int, Json]
"""The place in a patch of an operation that removes, and the value that it removes."""

_JOIN_LIMIT = 5_000
"""Operations that are looked at, in one patch, to find out which removed values may be moved to where they reappear."""

_JOIN_TRIES = 4
"""Equal removed values that are tried for one added value at the most."""


def joined(patch: Patch, removals: list[Removal]) -> tuple[Patch, list[Removal]]:
    """Return `patch` with moves for what it removes in one place and adds in another, and the removals left in it.

    `removals` are those of `patch`, in order. Only what is certainly safe is joined, so that the patch does the same
    with fewer operations. Changes neither argument.
    """
    edits: list[PatchOperation | None] = [*patch]
    free: dict[bytes, list[int]] = {}
    for removal, value in removals:
        free.setdefault(comparable(value), []).append(removal)
    looks = _JOIN_LIMIT
    for addition, operation in enumerate(patch):
        equal = free.get(comparable(operation["value"]), []) if operation["op"] == "add" else []
        for removal in equal[:_JOIN_TRIES]:
            looks -= abs(addition - removal)
            if looks > 0 and _may_join(edits, removal, addition):
                edits[addition] = {"op": "move", "from": patch[removal]["path"], "path": operation["path"]}
                edits[removal] = None
                equal.remove(removal)
                break
    return _without_gaps(edits, dict(removals))


def _without_gaps(edits: list[PatchOperation | None], removed: dict[int, Json]) -> tuple[Patch, list[Removal]]:
    """Return the operations that are left, and which of them remove what, by their new places."""
    patch: Patch = []
    removals: list[Removal] = []
    for place, edit in enumerate(edits):
        if edit:
            if place in removed:
                removals.append((len(patch), removed[place]))
            patch.append(edit)
    return patch, removals


def _may_join(edits: list[PatchOperation | None], removal: int, addition: int) -> bool:
    """Tell whether the operation `addition` may move the value here, instead of `removal` removing it.

    It may when nothing in between depends on whether the value is still there, or changes where it is. A token of
    digits may be an index, and then depends on its neighbours.
    """
    [source], [target] = _paths(edits[removal]), _paths(edits[addition])
    around = source.rpartition("/")[0] + "/"
    shifting = around if source[len(around) :].isdigit() else source + "/"
    for edit in edits[removal + 1 : addition] or edits[addition:removal]:
        for path in _paths(edit):
            if path == source or path.startswith(shifting) or source.startswith(path + "/"):
                return False
            parent, _, token = path.rpartition("/")
            if token.isdigit() and source.startswith(parent + "/"):
                return False
    return not target.startswith(source + "/")


def _paths(edit: PatchOperation | None) -> list[str]:
    return [edit[member] for member in ("from", "path") if member in edit] if edit else []
