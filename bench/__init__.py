"""Benchmarks, run by `python -m bench`; the tests measure no time."""
