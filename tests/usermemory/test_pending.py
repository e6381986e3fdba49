"""pending."""

import pytest

from memory_tools.memory import UserMemory
from storage.outcome import Held
from storage.provenance import by_agent
from tests.usermemory.cli import Cli

BEFORE = {"summary": "Ada likes tea.", "safety_notes": "Never call before noon."}
AFTER = {"summary": "Ada likes tea.", "safety_notes": "Call any time."}


@pytest.fixture
def held(person: UserMemory) -> str:
    """The id of a change that waits."""
    person.document.append(BEFORE)
    outcome = person.document.append(AFTER, provenance=by_agent("mcp"))
    assert isinstance(outcome, Held)
    return outcome.pending_id


def test_list_shows_what_waits_and_why(cli: Cli, held: str) -> None:
    [pending] = cli("pending", "list", "--json").json
    assert (pending["id"], pending["base_version"]) == (held, 1)
    assert pending["patch"] == [{"op": "replace", "path": "/safety_notes", "value": "Call any time."}]
    assert "safety_notes" in pending["reason"]
    lines = cli("pending", "list").lines
    assert lines[0].startswith(f"{held}  on version 1")
    assert "agent through mcp" in lines[0]
    assert lines[2] == '  ~ /safety_notes  "Never call before noon." → "Call any time."'


def test_show_is_one_of_them(cli: Cli, held: str) -> None:
    assert [cli("pending", "show", held, "--json").json] == cli("pending", "list", "--json").json
    assert cli("pending", "show", held).lines == cli("pending", "list").lines


def test_accept_saves_it_and_it_waits_no_longer(cli: Cli, held: str) -> None:
    answer = cli("pending", "accept", held, "--json").json
    assert (answer["status"], answer["version"]) == ("saved", 2)
    assert cli("show", "--json").json == AFTER | {"version": 2, "last_updated_by": "operator"}
    assert cli("pending", "list", "--json").json == []


def test_reject_leaves_the_memory_as_it_is(cli: Cli, held: str) -> None:
    assert cli("pending", "reject", held).lines == ["Rejected: the memory stays as it is."]
    assert cli("show", "--json").json == BEFORE | {"version": 1, "last_updated_by": "user"}
    assert cli("pending", "list").lines == ["Nothing waits."]


def test_accepting_what_others_changed_meanwhile_is_a_conflict_and_it_still_waits(
    cli: Cli, held: str, person: UserMemory
) -> None:
    person.document.append(BEFORE | {"safety_notes": "Never call before noon. Never at night."})
    answer = cli("pending", "accept", held, "--json")
    assert (answer.exit_code, answer.error["code"]) == (4, "version_conflict")
    assert [conflict["pointer"] for conflict in answer.error["conflicts"]] == ["/safety_notes"]
    assert "/safety_notes" in cli("pending", "accept", held).stderr
    assert len(cli("pending", "list", "--json").json) == 1


@pytest.mark.parametrize("pending_id", ["01900000-0000-7000-8000-000000000000", "no-id", ""])
def test_what_does_not_wait_is_not_found(cli: Cli, held: str, pending_id: str) -> None:
    for command in ("show", "accept", "reject"):
        answer = cli("pending", command, pending_id, "--json")
        assert (answer.exit_code, answer.error["code"]) == (3, "not_found")


def test_another_person_cannot_decide(cli: Cli, held: str) -> None:
    for user in ("bob", "nobody-has-met"):
        other = Cli(cli.url, user)
        other("items", "set", "n", "k", "1") if user == "bob" else None
        assert other("pending", "list", "--json").json == []
        for command in ("show", "accept", "reject"):
            assert other("pending", command, held, "--json").exit_code == 3


def test_the_list_comes_in_pages(cli: Cli, held: str, person: UserMemory) -> None:
    person.document.append(BEFORE | {"safety_notes": ""}, provenance=by_agent("mcp"))
    first = cli("pending", "list", "--limit", "1")
    assert first.stderr == f"More: --after {held}\n"
    [second] = cli("pending", "list", "--after", held, "--json").json
    assert second["id"] != held
