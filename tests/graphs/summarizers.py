"""Summarizers for tests of the worker: one that fails about some people, and one that waits to be let go on."""

import threading
from typing import Any

from graphs.recap import Recap, Transcript
from tests.graphs.workers import SECONDS


def poison(*bad: str) -> Any:
    """A summarizer that fails about what these people said, and counts how often it was asked."""
    asked: list[str] = []

    class Poisoned:
        def summarize(self, conversation: Transcript) -> Recap:
            text = conversation.messages[0].text
            asked.append(text)
            if any(name in text for name in bad):
                raise ConnectionError(f"could not digest {text}")
            return Recap({"summary": text})

    summarizer: Any = Poisoned()
    summarizer.asked = asked
    return summarizer


class Gate:
    """A summarizer that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()
        self.asked = 0

    def summarize(self, conversation: Transcript) -> Recap:
        self.asked += 1
        self.begun.set()
        assert self.open.wait(SECONDS)
        return Recap({"summary": conversation.messages[0].text})
