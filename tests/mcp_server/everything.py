"""The project's MCP server with the tools, resources and prompts that the conformance suite calls by name.

`python tests/mcp_server/everything.py` prints the URL it serves on loopback, without authentication, until it is ended.
"""

import json
import socket
import sys
import tempfile
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Elicit, ElicitationResult, Resolve, Sample, UserMessage
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts import Prompt
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    ContentBlock,
    CreateMessageRequest,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    ImageContent,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel, Field

from mcp_server import create_app, create_server
from usermemory import Memory

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
"""A PNG of one pixel, in base64."""
SILENCE = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
"""A WAV file without samples, in base64."""
IMAGE = ImageContent(data=PIXEL, mime_type="image/png")
CHOICES = Literal["option1", "option2", "option3"]
TITLED: list[Any] = [{"const": f"value{number}", "title": f"Option {number}"} for number in (1, 2, 3)]
NAMED: dict[str, Any] = {"enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option 1", "Option 2", "Option 3"]}
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"city": {"type": "string"}}}},
    "properties": {"address": {"$ref": "#/$defs/address"}, "phone": {"type": "string"}, "email": {"type": "string"}},
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"required": ["phone"]},
    "then": {"properties": {"phone": {"minLength": 1}}},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
"""An input schema with the words of JSON Schema 2020-12, which have to reach the client as they are."""


def embedded(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(resource=TextResourceContents(uri=uri, text=text, mime_type=mime_type))


CONTENTS: dict[str, list[ContentBlock]] = {
    "test_simple_text": [TextContent(text="This is a simple text response for testing.")],
    "test_image_content": [IMAGE],
    "test_audio_content": [AudioContent(data=SILENCE, mime_type="audio/wav")],
    "test_embedded_resource": [embedded("test://embedded-resource", "This is an embedded resource content.")],
    "test_multiple_content_types": [
        TextContent(text="Multiple content types test:"),
        IMAGE,
        embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json"),
    ],
    "json_schema_2020_12_tool": [TextContent(text="Only its schema is read.")],
}
"""What tools without arguments answer."""


def answers(contents: list[ContentBlock]) -> Callable[..., Any]:
    return lambda: contents


def fails() -> str:
    raise ToolError("This tool intentionally returns an error for testing")


def repeats(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    return region


def needs_sampling(ctx: Context) -> str:
    if ctx.client_capabilities is None or ctx.client_capabilities.sampling is None:
        needed: dict[str, Any] = {"sampling": {}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "Sampling is needed.", {"requiredCapabilities": needed})
    return "The client can sample."


async def reports_progress(ctx: Context) -> str:
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100)
    return "done"


async def logs(ctx: Context) -> str:
    for step in ("started", "processing", "completed"):
        await ctx.info(step)
    return "done"


async def changes_tools(ctx: Context) -> str:
    ctx.mcp_server.add_tool(fails, name="test_dynamic_tool")
    ctx.mcp_server.remove_tool("test_dynamic_tool")
    await ctx.notify_tools_changed()
    return "changed"


async def changes_prompts(ctx: Context) -> str:
    ctx.mcp_server.add_prompt(Prompt.from_function(fails, name="test_dynamic_prompt"))
    ctx.mcp_server.remove_prompt("test_dynamic_prompt")
    await ctx.notify_prompts_changed()
    return "changed"


# Until 2025-11-25 a tool asks in the middle of a call, which needs a stream.
class Account(BaseModel):
    username: str
    email: str


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


class Choices(BaseModel):
    untitledSingle: CHOICES
    titledSingle: Annotated[str, Field(json_schema_extra={"oneOf": TITLED})]
    legacyEnum: Annotated[str, Field(json_schema_extra=NAMED)]
    untitledMulti: list[CHOICES]
    titledMulti: Annotated[list[str], Field(json_schema_extra={"items": {"anyOf": TITLED}})]


def sample(prompt: str) -> Sample:
    return Sample([SamplingMessage(role="user", content=TextContent(text=prompt))], max_tokens=100)


def account(message: str) -> Elicit[Account]:
    return Elicit(message, Account)


def samples(prompt: str, answer: Annotated[CreateMessageResult, Resolve(sample)]) -> str:
    return f"LLM response: {answer.content}"


def asks_account(message: str, answer: Annotated[ElicitationResult[Account], Resolve(account)]) -> str:
    return f"User response: {answer.action}"


def asks_with_defaults(
    answer: Annotated[ElicitationResult[Defaults], Resolve(lambda: Elicit("Who are you?", Defaults))],
) -> str:
    return f"Elicitation completed: {answer.action}"


def asks_to_choose(
    answer: Annotated[ElicitationResult[Choices], Resolve(lambda: Elicit("What do you choose?", Choices))],
) -> str:
    return f"Elicitation completed: {answer.action}"


# Since 2026-07-28 a tool answers with what it still has to know.
def field(name: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=f"Your {name}?", requested_schema=schema))


def model(prompt: str) -> CreateMessageRequest:
    return CreateMessageRequest(params=sample(prompt).params)


def asks(**requests: InputRequest) -> Callable[..., Any]:
    def tool(ctx: Context) -> str | InputRequiredResult:
        if requests.keys() <= (ctx.input_responses or {}).keys():
            return "state-ok"
        return InputRequiredResult(input_requests=requests, request_state="asked")

    return tool


def asks_what_can_be_answered(ctx: Context) -> str | InputRequiredResult:
    able = ctx.client_capabilities
    asked: dict[str, InputRequest] = {}
    if able is not None and able.sampling is not None:
        asked["greeting"] = model("Say hello.")
    if able is not None and able.elicitation is not None:
        asked["user_name"] = field("name")
    return InputRequiredResult(input_requests=asked)


def asks_twice(ctx: Context) -> str | InputRequiredResult:
    following = {None: "name", "name": "color"}.get(ctx.request_state)
    if following is None:
        return "done"
    return InputRequiredResult(input_requests={following: field(following)}, request_state=following)


TOOLS: dict[str, Callable[..., Any]] = {
    "test_error_handling": fails,
    "test_x_mcp_header": repeats,
    "test_missing_capability": needs_sampling,
    "test_tool_with_progress": reports_progress,
    "test_tool_with_logging": logs,
    "test_logging_tool": logs,
    "test_trigger_tool_change": changes_tools,
    "test_trigger_prompt_change": changes_prompts,
    "test_sampling": samples,
    "test_elicitation": asks_account,
    "test_elicitation_sep1034_defaults": asks_with_defaults,
    "test_elicitation_sep1330_enums": asks_to_choose,
    "test_streaming_elicitation": asks(user_name=field("name")),
    "test_input_required_result_elicitation": asks(user_name=field("name")),
    "test_input_required_result_sampling": asks(capital_question=model("What is the capital of France?")),
    "test_input_required_result_list_roots": asks(client_roots=ListRootsRequest()),
    "test_input_required_result_request_state": asks(confirm=field("ok", "boolean")),
    "test_input_required_result_tampered_state": asks(confirm=field("ok", "boolean")),
    "test_input_required_result_multiple_inputs": asks(
        user_name=field("name"), greeting=model("Generate a greeting"), client_roots=ListRootsRequest()
    ),
    "test_input_required_result_capabilities": asks_what_can_be_answered,
    "test_input_required_result_multi_round": asks_twice,
}


def with_arguments(arg1: str, arg2: str) -> str:
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


def with_resource(resourceUri: str) -> list[UserMessage]:
    resource = embedded(resourceUri, "Embedded resource content for testing.")
    return [UserMessage(resource), UserMessage("Please process the embedded resource above.")]


PROMPTS: dict[str, Callable[..., Any]] = {
    "test_simple_prompt": lambda: "This is a simple prompt for testing.",
    "test_prompt_with_arguments": with_arguments,
    "test_prompt_with_embedded_resource": with_resource,
    "test_prompt_with_image": lambda: [UserMessage(IMAGE), UserMessage("Please analyze the image above.")],
    "test_input_required_result_prompt": asks(user_context=field("context")),
}


def from_template(name: str) -> str:
    return json.dumps({"id": name, "templateTest": True, "data": f"Data for ID: {name}"})


def add_everything(server: MCPServer) -> None:
    for name, contents in CONTENTS.items():
        server.add_tool(answers(contents), name=name, description=name, structured_output=False)
    for name, function in TOOLS.items():
        server.add_tool(function, name=name, description=name, structured_output=False)
    # The SDK makes schemas from signatures only, and no annotation stands for these words.
    server._tool_manager._tools["json_schema_2020_12_tool"].parameters = SCHEMA
    for name, function in PROMPTS.items():
        server.add_prompt(Prompt.from_function(function, name=name, description=name))
    server.resource("test://static-text", name="text")(lambda: "This is the content of the static text resource.")
    server.resource("test://static-binary", name="binary", mime_type="image/png")(lambda: b64decode(PIXEL))
    server.resource("test://template/{name}/data", mime_type="application/json")(from_template)


def main() -> None:
    """Serve on a free port; with `--streams` behind the SDK's app, which keeps sessions and streams during a call."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as listening:
        memory = Memory.open(f"sqlite:///{Path(folder) / 'memory.db'}")
        server = create_server(memory, person=memory.of(user="conformance"))
        add_everything(server)
        app = server.streamable_http_app() if "--streams" in sys.argv else create_app(server, memory)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
