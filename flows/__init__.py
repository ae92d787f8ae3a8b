"""Outcomes: each flow is one thing a person schedules or types."""
