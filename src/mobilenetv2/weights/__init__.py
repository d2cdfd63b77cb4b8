"""One canonical form of the weights, the model folder, and readers of foreign files."""
