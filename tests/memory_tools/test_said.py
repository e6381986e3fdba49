from typing import Any

from memory_tools.said import text_of


def test_content_blocks_are_shown_as_text() -> None:
    blocks: list[Any] = ["Look:", {"type": "text", "text": "a boat"}, {"type": "image", "base64": "aaaa"}, 7]
    assert text_of(blocks) == "Look:\na boat\n[image]\n7"
    assert text_of({"mood": "good"}) == '{"mood":"good"}'
