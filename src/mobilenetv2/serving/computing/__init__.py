"""Processes that decode and compute, and the queue before them."""
