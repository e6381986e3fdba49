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

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from graphs.material import Material
from memory_tools.visible import visible, visible_line, visible_value
from storage.canonical import dumps
from storage.json_types import Document, Json

_TEXT = files("graphs").joinpath("prompt.md").read_text(encoding="utf-8")

PROMPT_VERSION: Final = "sha256:" + hashlib.sha256(_TEXT.encode()).hexdigest()[:12]
"""What provenance keeps of the prompt: it changes with every edit of the file."""

_, _INSTRUCTIONS, _DATA, _CORRECTION = (Template(part.strip()) for part in re.split(r"<!-- \w+ -->\n", _TEXT))


def prompt(document: Document, material: Material) -> list[BaseMessage]:
    """Return the messages that ask a model for the new document.

    Memory and messages are fenced: each fence is a line with a random marker that is nowhere in what it encloses.
    """
    shown = {
        "document": dumps(visible_value(document)),
        "material": "\n".join(visible_line(each) for each in _lines(material)),
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


@cache
def _schema(schema: type[BaseModel]) -> str:
    """Return the JSON Schema of the documents; of a model that has none, any object."""
    try:
        return json.dumps(schema.model_json_schema(), ensure_ascii=False, separators=(",", ":"))
    except PydanticInvalidForJsonSchema:
        return '{"type":"object"}'
