"""Jobs on a real SLURM cluster of one node."""
