"""Verbs: the steps of a flow, each a thin Prefect task that joins encoders and storage."""
