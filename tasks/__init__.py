"""Tasks: data sets and simulators, and the protocols by which they meet models and objectives."""
