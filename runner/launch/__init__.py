"""Where jobs run: a pool of processes on this machine."""
