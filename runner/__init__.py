"""How a run happens: the command line, the training loop, run directories, tracking."""
