"""Foreign files read as data, never executed: bounds are checked before memory is taken."""
