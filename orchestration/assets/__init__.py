"""Assets along the data's way: ingestion, dbt models, publication."""

# Of every asset.
OWNERS = ["team:orewatch"]
