"""The market brief: a short factual page about one session, from the published tables alone."""
