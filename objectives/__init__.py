"""Training objectives: pure functions and modules from tensors to losses, one file a family."""
