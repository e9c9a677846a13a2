"""Where data rests: the append-only lake, the warehouse and the published versions."""
