"""Proof by breaking: thirty faults are put into the code, one at a time, and the tests have to find them.

Twenty are drawn by lot, ten are chosen where a fault would hurt most. `make faults` runs it; docs/testing.md says how
to read what it prints. Nothing here is a test of the pipeline, and the checkout itself is never changed.
"""
