"""Measurements of ``mobilenetv2 serve``, each a module with ``options`` and ``run``."""
