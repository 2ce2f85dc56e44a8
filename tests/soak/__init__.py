"""Compressed days of an exporter's life, with its memory, files, threads and sessions watched: `make soak`."""
