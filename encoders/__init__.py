"""Nouns: what turns a picture, a sound or a text into a vector. Knows no Prefect, no Arrow, no LanceDB."""
