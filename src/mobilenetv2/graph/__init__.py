"""Folded network as a graph of typed operations, and a writer for each format."""
