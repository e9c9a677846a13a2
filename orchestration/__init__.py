"""Orewatch: the Dagster code location that watches silver, gold and the companies that mine them."""
