"""The command line: what a person types, and what it prints. It knows everything; nothing imports it."""
