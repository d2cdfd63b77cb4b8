"""Exported files, read as data: the graph, and the config inside it."""
