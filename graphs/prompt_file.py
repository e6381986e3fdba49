"""Prompt files: what a model is told, asked and told again, with memory and messages between fences."""

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from string import Template

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from memory_tools.visible import visible


class PromptFile:
    """A file of this package with three parts: the instructions, the data to judge, and the correction of an answer."""

    def __init__(self, name: str) -> None:
        """Read `name`; each part begins with a comment line that names it."""
        text = files("graphs").joinpath(name).read_text(encoding="utf-8")
        _, *parts = (Template(part.strip()) for part in re.split(r"<!-- \w+ -->\n", text))
        self._instructions, self._data, self._correction = parts
        self.version = "sha256:" + hashlib.sha256(text.encode()).hexdigest()[:12]
        """What provenance keeps of the prompt: it changes with every edit of the file."""

    def question(self, shown: Mapping[str, str], schema: type[BaseModel]) -> list[BaseMessage]:
        """Return the messages that ask for an answer of this schema about the texts in `shown`.

        They are fenced: each fence is a line with a random marker that is nowhere in what it encloses.
        """
        marker = secrets.token_hex(8)
        while any(marker in text for text in shown.values()):
            marker = secrets.token_hex(8)
        return [
            SystemMessage(self._instructions.substitute(schema=_json_schema(schema))),
            HumanMessage(self._data.substitute(shown, marker=marker)),
        ]

    def correction(self, reason: str) -> BaseMessage:
        """Return the message that asks for another answer because of `reason`."""
        return HumanMessage(self._correction.substitute(reason=visible(reason).rstrip(".")))


@cache
def _json_schema(schema: type[BaseModel]) -> str:
    """Return the JSON Schema of what a model answers; of a pydantic model that has none, any object."""
    try:
        return json.dumps(schema.model_json_schema(), ensure_ascii=False, separators=(",", ":"))
    except PydanticInvalidForJsonSchema:
        return '{"type":"object"}'
