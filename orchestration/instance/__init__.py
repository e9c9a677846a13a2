"""What Dagster keeps its runs in, and the processes and locks of this machine."""
