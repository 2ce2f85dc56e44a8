"""What a scrape costs, ours beside the exporters that it replaces: `python -m tests.bench`, `make bench`."""
