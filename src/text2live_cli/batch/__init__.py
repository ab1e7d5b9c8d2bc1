"""Many edits: read from a file, checked together, run by workers, gone on with after any end."""
