"""The language tasks."""
