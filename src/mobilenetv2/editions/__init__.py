"""Editions: the network in PyTorch, Keras, JAX and NumPy, each built from the same spec."""
