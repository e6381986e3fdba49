"""The prompt: what a model is asked when memory is updated. Its text is `prompt.md`."""

from collections.abc import Iterable
from typing import Final

from langchain_core.messages import BaseMessage

from graphs.material import Material
from graphs.prompt_file import PromptFile
from memory_tools.said import Said
from memory_tools.visible import visible_line, visible_value
from storage.canonical import dumps
from storage.json_types import Document, Json

PROMPT: Final = PromptFile("prompt.md")

PROMPT_VERSION: Final = PROMPT.version


def prompt(document: Document, material: Material) -> list[BaseMessage]:
    """Return the messages that ask a model for the new document. Memory and messages are fenced."""
    shown = {"document": dumps(visible_value(document)), "material": "\n".join(map(visible_line, _lines(material)))}
    return PROMPT.question(shown, material.schema)


def message_members(message: Said) -> dict[str, Json]:
    """Return what a model is shown of a message."""
    return {
        "message": message.number,
        "role": message.role,
        "said_at": message.said_at.isoformat(timespec="minutes"),
        "text": message.text,
    }


def _lines(material: Material) -> Iterable[Json]:
    for message in material.messages:
        yield {**message_members(message), "conversation": message.conversation}
    for recapped in material.recaps:
        first, last = recapped.messages[0], recapped.messages[-1]
        yield {
            "memory_of_conversation": recapped.conversation,
            "first_message": first.number,
            "last_message": last.number,
            "said_at": last.said_at.isoformat(timespec="minutes"),
            "memory": recapped.data,
        }
    for item in material.items:
        yield {"item": f"{item.namespace}/{item.key}", "value": item.value}
    for source in material.texts:
        yield {"source": source.label, "text": source.text}
