"""The ready-made dashboard: Apache Superset in an environment of its own, and a bundle of YAML that can be reviewed."""
