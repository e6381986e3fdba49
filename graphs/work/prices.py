"""Prices: what the tokens of a model cost."""

from dataclasses import dataclass
from typing import Final

from storage.provenance import TokenUsage


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost, in whichever currency."""

    input: float = 0.0
    output: float = 0.0

    def micros(self, tokens: TokenUsage | None) -> int:
        """Return what so many tokens cost, in millionths of the currency; 0 where nobody knows the tokens."""
        return 0 if tokens is None else round(tokens.input * self.input + tokens.output * self.output)


FREE: Final = Prices()
"""What is reckoned with where no prices are given."""
