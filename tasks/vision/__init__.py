"""The vision tasks."""
