"""Engines: one module a runtime, which reads its files and computes."""
