"""The reinforcement-learning tasks."""
