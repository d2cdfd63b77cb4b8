"""Benchmark of runtimes and precisions: speed, accuracy, size and memory."""
