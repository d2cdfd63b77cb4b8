"""Names of the models that are used by default, and of the places of models."""

DEFAULT = "timm-100"
"""Name of the weights from which training starts by default.

They are safetensors with a full checksum, under Apache-2.0.
"""
EMBEDDED = "embedded"
"""Name of the model in the package, which has CIFAR-10's classes and needs no network access."""
HUB = "hf://"
"""Start of the name of a repository of the Hugging Face hub."""
