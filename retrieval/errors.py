"""What the read side refuses."""

from __future__ import annotations


class QueryError(ValueError):
    """The question cannot be asked of this table; says what can."""
