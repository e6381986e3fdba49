"""JSON Patch (RFC 6902): checking a patch, and applying it, all or nothing and within bounds."""

from collections.abc import Iterable

import jsonpatch
from jsonpointer import JsonPointer

from storage.equality import equal
from storage.errors import InvalidPatch, PatchDoesNotApply, TooLarge
from storage.json_types import Json, Patch, PatchOperation
from storage.limits import DEPTH_LIMIT, PATCH_LIMIT
from storage.patch_budget import Budget, too_deep
from storage.pointer import index, kind, shown, step, tokens

_MEMBERS = {
    "add": ("op", "path", "value"),
    "remove": ("op", "path"),
    "replace": ("op", "path", "value"),
    "move": ("op", "from", "path"),
    "copy": ("op", "from", "path"),
    "test": ("op", "path", "value"),
}
"""The members that each operation needs, which are all that is kept of it."""

_CONTAINERS = (dict, list)


def check_patch(patch: object) -> Patch:
    """Return `patch`, a list or a `jsonpatch.JsonPatch`, as a new list of well-formed operations that share its values.

    Members that an operation does not know are left out: RFC 6902, section 4, has them ignored.
    Raises InvalidPatch, naming the operation, if one is ill-formed or the patch is over a limit: PATCH_LIMIT operations
    and, in all of them, NODE_LIMIT values and DOCUMENT_LIMIT characters of pointers; DEPTH_LIMIT levels in each value.
    """
    operations = patch.patch if isinstance(patch, jsonpatch.JsonPatch) else patch
    if not isinstance(operations, list):
        raise InvalidPatch("A patch is a list of operations.")
    if len(operations) > PATCH_LIMIT:
        raise InvalidPatch(f"The patch has {len(operations)} operations, more than {PATCH_LIMIT}.")
    checked, budget = [], Budget()
    for number, operation in enumerate(operations):
        try:
            checked.append(_checked(operation, budget))
        except (InvalidPatch, TooLarge) as wrong:
            raise InvalidPatch(f"Operation {number} is not valid: {str(wrong).rstrip('.')}.") from None
    return checked


def apply(document: Json, patch: object) -> Json:
    """Return what `patch` makes of `document`: a new value that shares no object and no array with either.

    For patches from anywhere: nothing is changed, and a hostile patch is refused within about 0.1 seconds.
    Raises InvalidPatch if the patch is ill-formed (see `check_patch`), copies more than one document may hold, pushes
    more than SHIFT_LIMIT entries aside, or nests anything deeper than DEPTH_LIMIT. Raises PatchDoesNotApply if a path
    leads nowhere or a test fails, TooLarge if the document itself nests too deep.
    """
    operations = check_patch(patch)
    return _BoundedApplication(copied(document)).run(operations)


def apply_in_place(document: Json, patch: Patch) -> Json:
    """Return what `patch` makes of `document`, changing it: for a document just parsed that nobody else holds.

    For patches that were checked before they were stored: their shape and their demands are not looked at. The patch
    itself is not changed and shares nothing with the result.
    Raises PatchDoesNotApply if a path leads nowhere or a test fails: then the document is half changed and of no use.
    """
    return _Application(document).run(patch)


def replay(document: Json, patches: Iterable[Patch]) -> Json:
    """Return what `patches`, one after the other, make of `document`, changing it. Otherwise as `apply_in_place`."""
    application = _Application(document)
    for patch in patches:
        application.run(patch)
    return application.document


def copied(value: Json, levels: int = DEPTH_LIMIT) -> Json:
    """Return a deep copy of `value`; TooLarge if objects and arrays nest deeper than `levels` in it."""
    if not isinstance(value, _CONTAINERS):
        return value
    if levels <= 0:
        raise too_deep()
    below = levels - 1
    if isinstance(value, dict):
        return {name: copied(x, below) if isinstance(x, _CONTAINERS) else x for name, x in value.items()}
    return [copied(x, below) if isinstance(x, _CONTAINERS) else x for x in value]


def _checked(operation: object, budget: Budget) -> PatchOperation:
    """Return the members of `operation` that count, paid for; InvalidPatch if one is missing or wrong."""
    if not isinstance(operation, dict):
        raise InvalidPatch(f"An operation is an object, not {kind(operation)}.")
    name = operation.get("op")
    if not isinstance(name, str) or name not in _MEMBERS:
        raise InvalidPatch(f"Its op is none of {', '.join(_MEMBERS)}.")
    members = _MEMBERS[name]
    for member in members:
        if member not in operation:
            raise InvalidPatch(f"{name} needs the member {member}.")
    checked = {member: operation[member] for member in members}
    for member in ("from", "path"):
        if member in checked:
            checked[member] = _checked_pointer(member, checked[member])
            budget.pay_text(checked[member])
    if "value" in checked:
        budget.look_at(checked["value"], DEPTH_LIMIT)
    if name == "move" and checked["path"].startswith(checked["from"] + "/"):
        raise InvalidPatch("A value cannot move to a place inside itself.")
    return checked


def _checked_pointer(member: str, value: object) -> str:
    """Return `value` as a pointer; a `jsonpatch.JsonPatch` may hold it as an object."""
    spelled = value.path if isinstance(value, JsonPointer) else value
    if not isinstance(spelled, str):
        raise InvalidPatch(f"{member} is {kind(value)}, not a JSON pointer.")
    tokens(spelled)
    return spelled


class _Application:
    """A document while patches change it. Each operation of RFC 6902, section 4, is a method of its own name."""

    __slots__ = ("document",)

    def __init__(self, document: Json) -> None:
        self.document = document

    def run(self, patch: Patch) -> Json:
        """Apply the operations in order and return the document."""
        for number, operation in enumerate(patch):
            try:
                _OPERATIONS[operation["op"]](self, operation)
            except (LookupError, PatchDoesNotApply) as why:
                raise PatchDoesNotApply(_failed(number, operation, why)) from None
            except TooLarge as why:
                raise InvalidPatch(_failed(number, operation, why)) from None
        return self.document

    def add(self, operation: PatchOperation) -> None:
        path = tokens(operation["path"])
        self.put(path, copied(operation["value"], DEPTH_LIMIT - len(path)))

    def remove(self, operation: PatchOperation) -> None:
        self.take(tokens(operation["path"]))

    def replace(self, operation: PatchOperation) -> None:
        path = tokens(operation["path"])
        value = copied(operation["value"], DEPTH_LIMIT - len(path))
        if not path:
            self.document = value
            return
        parent, token = self.at(path[:-1]), path[-1]
        if isinstance(parent, list):
            parent[index(token, len(parent))] = value
        else:
            step(parent, token)
            parent[token] = value

    def move(self, operation: PatchOperation) -> None:
        source, target = tokens(operation["from"]), tokens(operation["path"])
        if source == target:
            self.at(source)
            return
        value = self.take(source)
        self.sink(value, len(target) - len(source), DEPTH_LIMIT - len(target))
        self.put(target, value)

    def copy(self, operation: PatchOperation) -> None:
        target = tokens(operation["path"])
        self.put(target, self.duplicate(self.at(tokens(operation["from"])), DEPTH_LIMIT - len(target)))

    def test(self, operation: PatchOperation) -> None:
        if not equal(self.at(tokens(operation["path"])), operation["value"]):
            raise PatchDoesNotApply("the value there is not the expected one")

    def at(self, path: list[str]) -> Json:
        """Return the value at `path`."""
        value = self.document
        for token in path:
            value = value[token] if isinstance(value, dict) and token in value else step(value, token)
        return value

    def put(self, path: list[str], value: Json) -> None:
        """Put `value` at `path`: as a member, as an entry in front of the one there, or as the document."""
        if not path:
            self.document = value
            return
        parent, token = self.at(path[:-1]), path[-1]
        if isinstance(parent, dict):
            parent[token] = value
        elif isinstance(parent, list):
            place = len(parent) if token == "-" else index(token, len(parent) + 1)
            self.shift(len(parent) - place)
            parent.insert(place, value)
        else:
            step(parent, token)

    def take(self, path: list[str]) -> Json:
        """Remove the value at `path` and return it."""
        if not path:
            raise PatchDoesNotApply("the whole document cannot be removed")
        parent, token = self.at(path[:-1]), path[-1]
        if isinstance(parent, list):
            place = index(token, len(parent))
            self.shift(len(parent) - place)
            return parent.pop(place)
        value = step(parent, token)
        del parent[token]
        return value

    def duplicate(self, value: Json, levels: int) -> Json:
        """Return a copy of a part of the document that may nest `levels` deep."""
        return copied(value, levels)

    def sink(self, value: Json, deeper: int, levels: int) -> None:
        """Take note that a part of the document goes `deeper` levels down, where it may nest `levels` deep."""

    def shift(self, entries: int) -> None:
        """Take note that so many entries of an array are pushed aside."""


class _BoundedApplication(_Application):
    """A document while a patch from anywhere changes it, which may ask for so much work and memory and no more."""

    __slots__ = ("budget",)

    def __init__(self, document: Json) -> None:
        super().__init__(document)
        self.budget = Budget()

    def duplicate(self, value: Json, levels: int) -> Json:
        for level in self.budget.paid_levels(value, levels):
            for item in level:
                self.budget.pay_text(item)
        return copied(value, levels)

    def sink(self, value: Json, deeper: int, levels: int) -> None:
        if deeper > 0:
            self.budget.look_at(value, levels)

    def shift(self, entries: int) -> None:
        self.budget.push(entries)


def _failed(number: int, operation: PatchOperation, why: Exception) -> str:
    place = " to ".join(shown(operation[member]) for member in ("from", "path") if member in operation)
    return f"Operation {number} ({operation.get('op')} {place}) fails: {str(why).rstrip('.')}."


_OPERATIONS = {
    "add": _Application.add,
    "remove": _Application.remove,
    "replace": _Application.replace,
    "move": _Application.move,
    "copy": _Application.copy,
    "test": _Application.test,
}
