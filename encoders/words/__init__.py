"""Encoders of single words, and how their vectors are trained and kept."""
