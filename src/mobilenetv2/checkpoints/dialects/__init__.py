"""Dialects of foreign checkpoints: names, layouts and numerics of each publisher."""
