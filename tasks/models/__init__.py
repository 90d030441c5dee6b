"""Models; their shapes come from the task's facts, by name."""
