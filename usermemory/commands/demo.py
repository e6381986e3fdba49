"""`usermemory demo`: two calls of one person become memory, in front of your eyes."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from graphs.update import update_memory
from memory_tools.memory import Memory, UserMemory
from memory_tools.operations.document import compare_memory_versions, get_memory_history, get_user_memory
from memory_tools.operations.pending import accept_pending_version
from storage.conversations import NewMessage
from storage.errors import UserMemoryError
from storage.outcome import Held
from storage.provenance import by_agent, by_operator
from usermemory.commands.answers import brief_lines, full_lines, made_by, outcome_lines
from usermemory.commands.asking import ask
from usermemory.commands.group import examples
from usermemory.commands.layout import in_one_line, laid_out

FIRST_CALL = (
    ("user", "Hello! My name is Ada, and I live in Bonn."),
    ("assistant", "Welcome, Ada. What brings you here?"),
    ("user", "I want to give a talk without panic."),
)

SECOND_CALL = (
    ("assistant", "Good to hear you again, Ada. How is the talk coming along?"),
    ("user", "Better. I have decided to rehearse it with a friend every Sunday."),
    ("assistant", "A fine plan. What helps you to wind down afterwards?"),
    ("user", "I love long walks along the Rhine. I want to sleep through the night."),
)

SAFETY_NOTE = "Never call before noon: she works nights."
NEW_SAFETY_NOTE = "Call in the evening: she works days now."


@click.command(epilog=examples("usermemory demo"))
def command() -> None:
    """Watch two calls become memory: no model, no key, nothing left behind.

    Everything happens in a temporary database, which is deleted at the end.
    """
    with TemporaryDirectory(prefix="usermemory-demo-") as folder:
        url = f"sqlite:///{Path(folder) / 'memory.db'}"
        with Memory.open(url) as memory:
            for line in story(memory.of(user="ada")):
                click.echo(line)


def story(ada: UserMemory) -> Iterator[str]:
    """Yield the demonstration line by line, while it happens."""
    yield "Two calls of one person, and what is remembered of them. No model and no key: without a model"
    yield "the person's own sentences are kept. With one (`--model`), it writes the document."
    yield from _first_call(ada)
    yield from _second_call(ada)
    yield from _time_travel(ada)
    yield from _concurrent_edit(ada)
    yield from _held_change(ada)
    yield from _end(ada)


def _first_call(ada: UserMemory) -> Iterator[str]:
    yield from _scene("1", "The first call")
    yield from _call(ada, "call-1", FIRST_CALL)
    yield ""
    yield "The document, which an agent reads at the start of the next call:"
    yield from laid_out(ask(get_user_memory, ada), 2)


def _second_call(ada: UserMemory) -> Iterator[str]:
    yield from _scene("2", "The second call")
    yield from _call(ada, "call-2", SECOND_CALL)
    patch = ask(compare_memory_versions, ada, before=1, after=2)
    yield ""
    yield "Stored is only the difference, as a JSON Patch (RFC 6902):"
    yield from laid_out(patch, 2)


def _time_travel(ada: UserMemory) -> Iterator[str]:
    yield from _scene("3", "Any version can be read back")
    for version in (1, 2):
        summary = ask(get_user_memory, ada, at=version, pointer="/summary")
        yield f"  as of version {version}   {in_one_line(summary)}"


def _concurrent_edit(ada: UserMemory) -> Iterator[str]:
    yield from _scene("4", "Two at once: nobody's words are lost")
    yield "Before the second call somebody had opened version 1, and saves a note only now. Version 2 is there"
    yield "already, so both sides' changes are merged:"
    note = [{"op": "add", "path": "/safety_notes", "value": SAFETY_NOTE}]
    yield from _indented(outcome_lines(ada, ada.document.append(note, expected_version=1, provenance=by_operator)))


def _held_change(ada: UserMemory) -> Iterator[str]:
    yield from _scene("5", "A guard stands in front of every change")
    yield "An agent rewrites the safety note. Safety notes may grow, but a model may not rewrite them:"
    version = ask(get_user_memory, ada)["version"]
    rewrite = [{"op": "replace", "path": "/safety_notes", "value": NEW_SAFETY_NOTE}]
    held = ada.document.append(rewrite, expected_version=version, provenance=by_agent("langchain"))
    if not isinstance(held, Held):
        raise UserMemoryError("The guard let a safety note be rewritten.")
    yield f"  Held: version {held.version} stays in force, and the change waits for a decision."
    yield from (f"  {objection.message}" for objection in held.objections)
    yield from _indented(full_lines(ada, held.version, held.patch))
    yield "Ada confirms it, and an operator accepts:"
    yield from _indented(outcome_lines(ada, ask(accept_pending_version, ada, id=held.pending_id)))


def _end(ada: UserMemory) -> Iterator[str]:
    yield from _scene("6", "The whole history")
    for entry in ask(get_memory_history, ada).entries:
        yield f"  {click.style(f'version {entry.version}', bold=True)}  {made_by(entry.provenance)}"
        yield from _indented(brief_lines(ada, entry.version - 1, entry.patch))
    yield ""
    yield "All this was in a temporary folder, which is gone now. Your turn:"
    yield "  usermemory update call.txt --user ada      learn from a transcript of yours"
    yield "  usermemory show --user ada                 read what is known"


def _call(ada: UserMemory, conversation: str, said: tuple[tuple[str, str], ...]) -> Iterator[str]:
    for role, text in said:
        speaker = click.style(f"{'Ada' if role == 'user' else 'Agent':>7}", fg="cyan" if role == "user" else None)
        yield f"{speaker}  {text}"
    yield ""
    messages = [NewMessage(role, text) for role, text in said]
    result = update_memory(ada, messages=messages, conversation=conversation)
    yield f"Saved as version {result.version}:"
    yield from brief_lines(ada, result.version - 1, result.patch)


def _scene(number: str, title: str) -> Iterator[str]:
    yield ""
    yield click.style(f"── {number}. {title} " + "─" * (60 - len(title)), fg="blue", bold=True)


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
