"""`usermemory update`: learn from a transcript."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import click

from graphs.material import Material
from graphs.summarizer import ModelSummarizer, Summary
from graphs.update import UpdateResult, update_memory
from memory_tools.memory import UserMemory
from memory_tools.operations.document import compare_memory_versions, get_user_memory
from storage.conversations import NewMessage
from storage.errors import SummarizerFailed, UserMemoryError, VersionConflict
from storage.guard import Objection
from storage.json_types import Document, Json
from storage.names import check_name
from storage.outcome import Held, Outcome, Saved, Unchanged
from usermemory.commands.answers import outcome_lines
from usermemory.commands.asking import ask
from usermemory.commands.group import examples
from usermemory.commands.models import chat_model
from usermemory.commands.options import for_person
from usermemory.commands.screen import Screen
from usermemory.commands.transcript import TRANSCRIPT_LIMIT, read_transcript


@click.command(
    epilog=examples(
        "usermemory update call.txt --user ada",
        "usermemory update chat.json --user ada --model openai:gpt-5-mini",
        "usermemory update - --user ada --conversation call-17 < call.txt",
        "usermemory update --user ada",
        "usermemory update --user ada --again --model openai:gpt-5",
    )
)
@click.argument("transcript", type=click.File("rb"), required=False)
@click.option(
    "--model", metavar="PROVIDER:NAME", help="The chat model that summarizes.  [default: none, by extraction]"
)
@click.option("--conversation", metavar="NAME", help="Your id of the conversation.  [default: the transcript's hash]")
@click.option("--speaker", metavar="NAME", help="Whose lines are the person's, where the names do not tell.")
@click.option(
    "--again", is_flag=True, help="Also learn from what an earlier run failed on, and all that came after it."
)
@for_person
def command(
    person: UserMemory,
    screen: Screen,
    transcript: BinaryIO | None,
    model: str | None,
    conversation: str | None,
    speaker: str | None,
    again: bool,
) -> None:
    """Learn from a transcript: what is new becomes the next version.

    TRANSCRIPT is a file, or - for stdin: a JSON list of messages with role and content (and perhaps said_at and
    external_id), or plain lines such as `user: I moved to Bonn.` What was learnt once is not learnt again: the same
    transcript a second time changes nothing, and one that has grown under the same --conversation adds what is new.
    Without a TRANSCRIPT, what agents kept and nobody learnt from yet.
    """
    messages, name = None, None
    if transcript is not None:
        read = read_transcript(transcript.read(TRANSCRIPT_LIMIT + 1), user=person.identity.user, speaker=speaker)
        messages, name = read.messages, check_name(conversation or read.name, "conversation")
    elif conversation is not None or speaker is not None:
        raise click.UsageError("--conversation and --speaker are about a TRANSCRIPT.")
    summarizer = None if model is None else _Telling(chat_model(model))
    if again:
        person.change(lambda stores: stores.cursors.go_back())
    before = ask(get_user_memory, person).get("version", 0)
    results = _learn(person, messages, name, summarizer, screen)
    screen.answer(_as_json(person, before, results, name), lambda: _lines(person, results))


class _Telling(ModelSummarizer):
    """A model that summarizes, with why its last answer was of no use: the person's own screen may quote it."""

    failure: SummarizerFailed | None = None

    def summarize(self, document: Document, material: Material) -> Summary:
        """Return the document that the model wrote, or keep why there is none."""
        try:
            return super().summarize(document, material)
        except SummarizerFailed as failure:
            self.failure = failure
            raise


def _learn(
    person: UserMemory,
    messages: Sequence[NewMessage] | None,
    conversation: str | None,
    summarizer: _Telling | None,
    screen: Screen,
) -> list[UpdateResult]:
    """Run the loop until nothing is left; a long transcript takes several runs. Raises what a failed run means."""
    results: list[UpdateResult] = []
    while not results or results[-1].more:
        try:
            result = update_memory(
                person,
                messages=None if results else messages,
                conversation=conversation,
                summarizer=summarizer,
                on_progress=lambda event: screen.progress(event["stage"]),
            )
        except UserMemoryError:
            raise
        except Exception as error:
            if summarizer is None:
                raise
            raise SummarizerFailed(f"The model failed ({type(error).__name__}: {error}).") from error
        finally:
            screen.progress(None)
        _check(result, None if summarizer is None else summarizer.failure)
        results.append(result)
    return results


def _check(result: UpdateResult, failure: SummarizerFailed | None) -> None:
    if result.status != "failed":
        return
    if result.error == VersionConflict.code:
        raise VersionConflict("Others kept changing the same places meanwhile. Try again.")
    if result.error == SummarizerFailed.code:
        why = failure or SummarizerFailed()
        raise SummarizerFailed(f"{str(why).rstrip('.')}. What was said is kept; learn from it with --again.")
    raise SummarizerFailed(f"The update failed ({result.error}). What was said is kept; try again.")


def _outcome(result: UpdateResult) -> Outcome:
    """Return what became of one run; with nothing new the document is unchanged."""
    match result.status:
        case "saved":
            return Saved(result.version, result.patch)
        case "held":
            objections = tuple(map(Objection.from_json, result.objections))
            return Held(result.version, result.pending_id or "", objections, result.patch)
        case _:
            return Unchanged(result.version)


def _as_json(person: UserMemory, before: int, results: Sequence[UpdateResult], conversation: str | None) -> Json:
    """Return what became of all runs: held if any was, else saved if any was, with all that was saved as one patch."""
    held = [result for result in results if result.status == "held"]
    version = results[-1].version
    status = "held" if held else "saved" if any(result.status == "saved" for result in results) else "unchanged"
    answer: dict[str, Json] = {"version": version, "status": status}
    if conversation is not None:
        answer["conversation"] = conversation
    if status == "saved":
        answer["patch"] = ask(compare_memory_versions, person, before=before, after=version)
    if held:
        answer |= {"pending_id": held[-1].pending_id, "patch": held[-1].patch, "objections": held[-1].objections}
    spent = [result.tokens for result in results if result.tokens is not None]
    if spent:
        answer["tokens"] = {kind: sum(each[kind] for each in spent) for kind in ("input", "output")}
    return answer


def _lines(person: UserMemory, results: Sequence[UpdateResult]) -> Iterator[str]:
    changed = [result for result in results if result.status in ("saved", "held")]
    for result in changed:
        yield from outcome_lines(person, _outcome(result))
    if not changed:
        new = any(result.status == "unchanged" for result in results)
        why = "what is new changes nothing" if new else "nothing is new"
        yield f"Unchanged: {why} (version {results[-1].version})."
