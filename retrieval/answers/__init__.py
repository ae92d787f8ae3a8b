"""Passages with their places for a question, and what a server writes from them."""
