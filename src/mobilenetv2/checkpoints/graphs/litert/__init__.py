"""LiteRT graphs, followed as a chain of convolutions."""
