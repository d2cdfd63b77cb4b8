"""Keras models: the layers of a config, followed as a chain."""
