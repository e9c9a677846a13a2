"""Asset checks: they read and report; the logic is in the marts."""
