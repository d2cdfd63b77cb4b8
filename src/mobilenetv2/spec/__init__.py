"""WHAT the network is: records, resolved layers, names, counts. Standard library only."""
