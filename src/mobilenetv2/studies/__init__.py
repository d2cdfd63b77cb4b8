"""Experiments on the claims of the paper and the article, each a module with a ``STUDY``."""
