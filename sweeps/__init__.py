"""Sweeps: from overrides to jobs, and what they have in common."""
