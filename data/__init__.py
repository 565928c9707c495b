"""Rows: one schema, readers and writers, importers, splits, checks and the bundled annotated set."""
