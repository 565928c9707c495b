"""One self-contained HTML page about scored answers."""
