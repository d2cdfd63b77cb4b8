"""Functions that create, load, save, convert and describe networks."""
