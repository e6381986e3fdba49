"""A server on this machine that speaks OpenAI's wire format and answers from a script."""

import json
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from langchain_core.messages import AIMessage

PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Received:
    """One request as it came over the wire."""

    raw: str
    """The request line, the headers and the body."""

    body: dict[str, Any]

    @property
    def system(self) -> list[str]:
        """The texts of the system message, one for each block; empty without one."""
        first = self.body["messages"][0]
        if first["role"] != "system":
            return []
        content = first["content"]
        return [content] if isinstance(content, str) else [block["text"] for block in content]

    @property
    def roles(self) -> list[str]:
        return [message["role"] for message in self.body["messages"]]


@dataclass
class OpenAIStub:
    """Answers each request with the next message of its script; asked once more, it refuses with status 400.

    The messages are those of `graphs.testing.said` and `calls`. A stream comes as it was asked for: word by word, calls
    in pieces, token counts only with `stream_options`. It listens on the loopback until the block ends.
    """

    script: Sequence[AIMessage]
    requests: list[Received] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                stub._answer(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name there
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        text = request.rfile.read(int(request.headers["Content-Length"])).decode()
        received = Received(f"{request.requestline}\n{request.headers}\n{text}", json.loads(text))
        with self._lock:
            number = len(self.requests)
            self.requests.append(received)
        if request.path != PATH or number >= len(self.script):
            _send(request, 400, "application/json", json.dumps({"error": {"message": "the script has ended"}}))
        elif received.body.get("stream"):
            usage = (received.body.get("stream_options") or {}).get("include_usage", False)
            events = [*map(json.dumps, _chunks(self.script[number], usage)), "[DONE]"]
            _send(request, 200, "text/event-stream", "".join(f"data: {event}\n\n" for event in events))
        else:
            _send(request, 200, "application/json", json.dumps(_completion(self.script[number])))


def _send(request: BaseHTTPRequestHandler, status: int, kind: str, text: str) -> None:
    body = text.encode()
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def _completion(message: AIMessage) -> dict[str, Any]:
    called = [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call["args"])},
        }
        for call in message.tool_calls
    ]
    said: dict[str, Any] = {"role": "assistant", "content": message.text or None}
    choice = {"index": 0, "message": said | ({"tool_calls": called} if called else {}), "finish_reason": _end(message)}
    return _envelope("chat.completion", [choice]) | {"usage": _usage(message)}


def _chunks(message: AIMessage, usage: bool) -> Iterator[dict[str, Any]]:
    for delta in _deltas(message):
        yield _envelope("chat.completion.chunk", [{"index": 0, "delta": delta, "finish_reason": None}])
    yield _envelope("chat.completion.chunk", [{"index": 0, "delta": {}, "finish_reason": _end(message)}])
    if usage:
        yield _envelope("chat.completion.chunk", []) | {"usage": _usage(message)}


def _deltas(message: AIMessage) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": "" if message.text else None}
    for word in re.findall(r"\S+\s*", message.text):
        yield {"content": word}
    for place, call in enumerate(message.tool_calls):
        begun = {"name": call["name"], "arguments": ""}
        yield {"tool_calls": [{"index": place, "id": call["id"], "type": "function", "function": begun}]}
        for piece in re.findall(r".{1,7}", json.dumps(call["args"])):
            yield {"tool_calls": [{"index": place, "function": {"arguments": piece}}]}


def _envelope(kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "stub-1", "choices": choices}


def _end(message: AIMessage) -> str:
    return "tool_calls" if message.tool_calls else "stop"


def _usage(message: AIMessage) -> dict[str, int]:
    usage = message.usage_metadata
    assert usage is not None, "a message of the script says what it costs"
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
    }
