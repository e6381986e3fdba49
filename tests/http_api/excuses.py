"""Excuses: which checks of Schemathesis may fail, where and why, and what is no failure at all."""

from collections.abc import Mapping
from typing import Final

ACCEPTED: Final = ("2xx", "3xx", "401", "403", "404", "405", "409", "412", "429", "503")
"""What a request that keeps to the schemas may be answered, beside the answer: it depends on who asks, and what is."""

TAKEN: Final = "positive_data_acceptance"
"""The check that what keeps to the schemas is not refused."""

SINGLE_VALUES: Final = "|".join(
    (
        "^[^:]+: 400 invalid_json",  # U+0000 in a text
        "^POST [^:]+/entries: 422 invalid_input",  # what is there is no list
        "^(POST /memories|PUT [^:]+/memory): 422 invalid_input",  # made of more messages than there are
        r"^[^:]+: 422 invalid_input[^{]*\{.*[0-9]\.0\b",  # 1.0, which to a schema is a whole number
    )
)
"""Values of which no schema says that they are refused."""

EXCUSED: Final[Mapping[tuple[str, str], str]] = {
    (TAKEN, "^[^:]+: 422 (invalid_name|invalid_patch)"): "no schema says all that a name, or a place, may not be",
    (TAKEN, "^[^:]+: 400 (invalid|no)_identity"): "no schema says which phone numbers there are",
    (TAKEN, "^[^:]+: 422 idempotency_key_reused"): "the key was another request's",
    (TAKEN, "^[^:]+: 400 invalid_input on a condition"): "two conditions contradict each other, or a tag has no "
    "quotation marks, which Schemathesis writes into no header",
    (TAKEN, "^(GET|DELETE) [^:]+: 422 invalid_input"): "`after` was no `next`, or parameters exclude each other",
    (TAKEN, SINGLE_VALUES): "no schema says it of these values",
}
"""What fails and may: a check, and a pattern of `operation: status code: body`, each with the reason."""
