"""What happened in the market: each kind of event once, with its checks, its sentence and its picture."""
