"""Framework-free description of the network: records, resolved layers, names, counts.

This package needs the standard library only.
"""
