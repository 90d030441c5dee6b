"""Algorithms: how one batch changes the model."""
