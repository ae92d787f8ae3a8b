"""Nouns: object stores, Arrow and the LanceDB table. Knows no torch and no Prefect."""
