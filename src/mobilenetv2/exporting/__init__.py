"""Export of a network to files for every runtime, each compared with its edition first."""
