"""What a run costs where a server is paid by the token: expected for a plan, counted for a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from encoders.remote.token_budget import expected_tokens
from encoders.spec import Encoder, Space
from tasks.plan import Plan


@dataclass(frozen=True)
class Cost:
    """Tokens of a server, and their price.

    Parameters
    ----------
    price : in the currency of the space's option `price`; None where that is not set.
    rate : price of a million tokens; 0 where it is not set.
    """

    tokens: int
    rate: float

    @property
    def price(self) -> float | None:
        """Of all these tokens."""
        return self.tokens * self.rate / 1e6 if self.rate else None


def expected(space: Space, plan: Plan) -> Cost | None:
    """About what the plan's texts will cost, from their listed bytes; None where the space asks no server."""
    spec = space.encoders.get("text")
    if spec is None or not spec.service:
        return None
    sizes = plan.todo.filter(pl.col("medium") == "text").get_column("size").to_list()
    return Cost(expected_tokens(spec, sizes), spec.service["price"])


def counted(encoders: Iterable[Encoder]) -> Cost | None:
    """What the servers behind some encoders have counted; None where none asks a server."""
    asking = [encoder for encoder in encoders if encoder.spec.service]
    if not asking:
        return None
    tokens = [int(getattr(encoder, "tokens", 0)) for encoder in asking]
    price = sum(n * encoder.spec.service["price"] for n, encoder in zip(tokens, asking, strict=True))
    return Cost(sum(tokens), price / sum(tokens) if sum(tokens) else 0.0)
