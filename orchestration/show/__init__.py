"""What people read of a published version: the brief, and what else is made for eyes."""
