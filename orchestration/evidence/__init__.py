"""What usually followed an event, how rare a move is, what went with it: counts and fits of the past, not advice."""
