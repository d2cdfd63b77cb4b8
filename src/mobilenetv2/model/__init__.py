"""The canonical weights and the model folder."""
