"""A result's folder: its lock, checkpoints, record, and what is checked before the work."""
