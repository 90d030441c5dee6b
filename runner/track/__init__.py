"""MLflow as a view of the run directories.

Training never waits for MLflow: one process of its own replays run directories into the store,
in batches, whenever it is started. Replaying twice changes nothing: each run directory notes, for
each store, the run's id there and how far its events have been read; timestamps are the events'
own. A run that went back to a checkpoint after its events had been read is replayed anew.
"""
