"""The network as a file for every runtime, compared with its edition before it exists."""
