"""Runtimes and precisions side by side: how fast, how exact, how large."""
