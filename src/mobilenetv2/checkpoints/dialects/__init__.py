"""Foreign checkpoints to the canonical form: names, layouts and numerics of each publisher."""
