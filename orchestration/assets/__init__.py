"""Assets along the data's way: ingestion, dbt models, publication."""
