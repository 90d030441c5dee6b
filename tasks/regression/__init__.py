"""The regression tasks."""
