"""From the lake to the warehouse: dbt, what a build rests on, and Spark."""
