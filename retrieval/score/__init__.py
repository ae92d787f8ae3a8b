"""How well a table answers pairs that are known."""
