"""update."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import langchain.chat_models
import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from memory_tools.memory import UserMemory
from storage.patch import apply
from tests.contents import Contents
from tests.usermemory.cli import Cli

CALL = "user: My name is Ada.\nassistant: Hello!\nuser: I live in Bonn.\n"


@pytest.fixture
def call(tmp_path: Path) -> str:
    path = tmp_path / "call.txt"
    path.write_text(CALL, encoding="utf-8")
    return str(path)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterator[Any]], None]:
    """Let LangChain find a model that answers what the test says."""

    def answers(messages: Iterator[Any]) -> None:
        scripted = GenericFakeChatModel(messages=messages)
        monkeypatch.setattr(langchain.chat_models, "init_chat_model", lambda name: scripted)

    return answers


def says(document: dict[str, Any]) -> Iterator[AIMessage]:
    usage = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
    return iter([AIMessage(json.dumps(document), usage_metadata=usage)])


def test_a_transcript_becomes_a_version(cli: Cli, call: str) -> None:
    answer = cli("update", call, "--json").json
    assert (answer["version"], answer["status"]) == (1, "saved")
    document = cli("show", "--json").json
    assert "Ada" in json.dumps(document)
    assert apply({}, answer["patch"]) | {"version": 1, "last_updated_by": "job"} == document


def test_the_same_transcript_twice_is_unchanged(cli: Cli, call: str, person: UserMemory) -> None:
    first = cli("update", call, "--json").json
    second = cli("update", call, "--json").json
    assert second == {"version": 1, "status": "unchanged", "conversation": first["conversation"]}
    assert len(person.conversations.messages(first["conversation"]).entries) == 3
    assert cli("update", call).lines == ["Unchanged: nothing is new (version 1)."]


def test_a_conversation_that_has_grown_adds_what_is_new(cli: Cli, person: UserMemory) -> None:
    cli("update", "-", "--conversation", "call-17", stdin=CALL)
    answer = cli("update", "-", "--conversation", "call-17", "--json", stdin=CALL + "user: I love jazz.\n").json
    assert (answer["version"], answer["status"], answer["conversation"]) == (2, "saved", "call-17")
    assert len(person.conversations.messages("call-17").entries) == 4


def test_people_see_the_stages_on_stderr_and_the_changes_on_stdout(cli: Cli, call: str) -> None:
    answer = cli("update", call)
    stages = ["recall", "gather", "summarize", "diff", "guard", "save"]
    assert [line.removesuffix(" ...") for line in answer.stderr.splitlines()] == stages
    assert answer.lines[0] == "Saved as version 1."
    assert any(line.startswith("  + /summary") for line in answer.lines)


def test_a_long_transcript_is_learnt_to_its_end(cli: Cli) -> None:
    text = "\n".join(f"user: I have read book number {number}." for number in range(450))
    answer = cli("update", "-", "--json", stdin=text).json
    assert (answer["status"], answer["version"]) == ("saved", 3)
    assert apply({}, answer["patch"]) | {"version": 3, "last_updated_by": "job"} == cli("show", "--json").json
    assert cli("update", "-", "--json", stdin=text).json["status"] == "unchanged"


def test_a_model_writes_the_document(cli: Cli, call: str, model: Callable[[Iterator[Any]], None]) -> None:
    model(says({"summary": "Ada lives in Bonn."}))
    answer = cli("update", call, "--model", "openai:gpt", "--json").json
    assert answer["status"] == "saved"
    assert answer["tokens"] == {"input": 100, "output": 20}
    assert cli("show", "/summary", "--json").json == "Ada lives in Bonn."


def test_what_a_model_may_not_do_is_held(
    cli: Cli, call: str, person: UserMemory, model: Callable[[Iterator[Any]], None]
) -> None:
    person.document.append({"safety_notes": "Never call before noon."})
    model(says({"summary": "Ada lives in Bonn.", "safety_notes": "Call any time."}))
    answer = cli("update", call, "--model", "openai:gpt", "--json").json
    assert (answer["status"], answer["version"]) == ("held", 1)
    assert answer["objections"][0]["rule"] == "protected"
    assert [pending["id"] for pending in cli("pending", "list", "--json").json] == [answer["pending_id"]]


def test_a_held_change_says_how_to_decide(
    cli: Cli, call: str, person: UserMemory, model: Callable[[Iterator[Any]], None]
) -> None:
    person.document.append({"safety_notes": "Never call before noon."})
    model(says({"safety_notes": ""}))
    lines = cli("update", call, "--model", "openai:gpt").lines
    assert lines[0].startswith("Held: version 1 stays in force")
    assert "usermemory pending accept" in lines[-1]


def test_a_model_without_a_usable_answer_is_a_failure(
    cli: Cli, call: str, model: Callable[[Iterator[Any]], None]
) -> None:
    model(iter([AIMessage("I cannot help with that.")] * 5))
    answer = cli("update", call, "--model", "openai:gpt", "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "summarizer_failed")
    assert cli("show", "--json").json == {}


def test_what_a_provider_raises_is_a_message_and_nothing_counts_as_seen(
    cli: Cli, call: str, model: Callable[[Iterator[Any]], None]
) -> None:
    def broken() -> Iterator[Any]:
        raise PermissionError("no such key")
        yield

    model(broken())
    answer = cli("update", call, "--model", "openai:gpt", "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "summarizer_failed")
    assert "no such key" in answer.error["message"]
    assert cli("update", call, "--json").json["status"] == "saved"


def test_without_langchain_a_model_is_refused_with_the_cure(
    cli: Cli, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "langchain", None)
    answer = cli("update", call, "--model", "openai:gpt", "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "invalid_input")
    assert "pip install 'usermemory[agents]'" in answer.error["message"]


@pytest.mark.parametrize("name", ["nobody:gpt", "gpt"])
def test_a_model_that_nobody_offers_is_refused(cli: Cli, call: str, name: str) -> None:
    answer = cli("update", call, "--model", name, "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "invalid_input")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "invalid_transcript"),
        ("[]", "invalid_transcript"),
        ("hello", "invalid_transcript"),
        ('[{"role": "user", "content": NaN}]', "invalid_json"),
        ("user: a\0b", "invalid_json"),
        ("user: " + "x" * 65_536, "too_large"),
        (json.dumps([{"role": "user", "content": "a", "external_id": "x" * 257}]), "invalid_name"),
        (json.dumps([{"role": "user", "content": "a", "more": "x" * 65_536}]), "too_large"),
    ],
)
def test_what_cannot_be_read_is_refused_and_nobody_is_made(
    cli: Cli, contents: Callable[[], Contents], text: str, code: str
) -> None:
    before = contents()
    answer = cli("update", "-", "--json", stdin=text)
    assert (answer.exit_code, answer.error["code"]) == (1, code)
    assert contents() == before


def test_a_conversation_must_have_a_possible_name(cli: Cli, call: str, contents: Callable[[], Contents]) -> None:
    before = contents()
    answer = cli("update", call, "--conversation", "x" * 257, "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "invalid_name")
    assert contents() == before


def test_a_file_that_is_not_there_is_wrong_usage(cli: Cli, tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.txt", tmp_path):
        answer = cli("update", str(path), "--json")
        assert (answer.exit_code, answer.error["code"]) == (2, "usage")


def test_without_a_transcript_it_learns_what_agents_kept(cli: Cli, person: UserMemory) -> None:
    assert cli("update", "--json").json == {"version": 0, "status": "unchanged"}
    person.conversations.append("chat-1", [{"role": "user", "content": "My name is Ada. I live in Bonn."}])
    answer = cli("update", "--json").json
    assert (answer["status"], answer["version"]) == ("saved", 1)
    assert "Bonn" in json.dumps(answer["patch"])
    assert cli("update", "--json").json["status"] == "unchanged"
    assert cli("update", "--conversation", "x").exit_code == 2
