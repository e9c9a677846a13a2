"""Where bars come from: one small protocol, three implementations. Nothing here knows the lake or Dagster."""
