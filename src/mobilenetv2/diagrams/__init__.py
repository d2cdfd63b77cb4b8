"""Pictures of networks and of their blocks as SVG, drawn from the spec."""
