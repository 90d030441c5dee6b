"""Diagnostics: what is said of a run beside its evaluation."""
