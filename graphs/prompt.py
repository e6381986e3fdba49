"""The prompt: what a model is asked when memory is updated. Its text is `prompt.md`."""

import hashlib
import json
import re
import secrets
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from string import Template
from typing import Final
from unicodedata import category

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from graphs.material import Material
from storage.canonical import dumps
from storage.json_types import Document, Json

_TEXT = files("graphs").joinpath("prompt.md").read_text(encoding="utf-8")

PROMPT_VERSION: Final = "sha256:" + hashlib.sha256(_TEXT.encode()).hexdigest()[:12]
"""What provenance keeps of the prompt: it changes with every edit of the file."""

_, _INSTRUCTIONS, _DATA, _CORRECTION = (Template(part.strip()) for part in re.split(r"<!-- \w+ -->\n", _TEXT))

_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Letters, marks and symbols that show nothing."""


class _Visible(dict[int, int | None]):
    """For `str.translate`: drops what a reader does not see, and what changes the order in which text is shown."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        dropped = (
            category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
            or character in _BLANK
            or 0xE0000 <= code <= 0xE0FFF  # tags, and the variation selectors in which whole texts were hidden
        )
        self[code] = None if dropped and character not in "\n\t\u200c\u200d" else code
        return self[code]


_VISIBLE = _Visible()

_STRAY_JOINER = re.compile(r"(?<![^\x00-\x7f\u200c\u200d])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f\u200c\u200d])")
"""A joiner that joins nothing: Persian, Indic scripts and emoji need single ones between their characters."""


def prompt(document: Document, material: Material) -> list[BaseMessage]:
    """Return the messages that ask a model for the new document.

    Memory and messages are fenced: each fence is a line with a random marker that is nowhere in what it encloses.
    """
    shown = {
        "document": dumps(_visible_value(document)),
        "material": "\n".join(_line(each) for each in _lines(material)),
    }
    marker = secrets.token_hex(8)
    while any(marker in text for text in shown.values()):
        marker = secrets.token_hex(8)
    return [
        SystemMessage(_INSTRUCTIONS.substitute(schema=_schema(material.schema))),
        HumanMessage(_DATA.substitute(shown, marker=marker)),
    ]


def correction(reason: str) -> BaseMessage:
    """Return the message that asks for another answer because of `reason`."""
    return HumanMessage(_CORRECTION.substitute(reason=visible(reason).rstrip(".")))


def visible(text: str) -> str:
    """Return `text` without control, bidirectional and zero-width characters, except tabs and line ends."""
    if text.isascii() and text.isprintable():
        return text
    return _STRAY_JOINER.sub("", text.translate(_VISIBLE))


def _lines(material: Material) -> Iterable[Json]:
    for message in material.messages:
        yield {
            "message": message.number,
            "role": message.role,
            "said_at": message.said_at.isoformat(timespec="minutes"),
            "conversation": message.conversation,
            "text": message.text,
        }
    for item in material.items:
        yield {"item": f"{item.namespace}/{item.key}", "value": item.value}
    for source in material.texts:
        yield {"source": source.label, "text": source.text}


def _line(value: Json) -> str:
    """Return `value` on one line, so that no text in it can begin one: line ends are escaped."""
    return json.dumps(_visible_value(value), ensure_ascii=False)


def _visible_value(value: Json) -> Json:
    """Return `value` with only visible characters in its texts: once escaped, the others could not be told."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(name): _visible_value(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_visible_value(entry) for entry in value]
    return value


@cache
def _schema(schema: type[BaseModel]) -> str:
    """Return the JSON Schema of the documents; of a model that has none, any object."""
    try:
        return json.dumps(schema.model_json_schema(), ensure_ascii=False, separators=(",", ":"))
    except PydanticInvalidForJsonSchema:
        return '{"type":"object"}'
