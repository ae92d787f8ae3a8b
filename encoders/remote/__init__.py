"""Encoders that ask a server."""
