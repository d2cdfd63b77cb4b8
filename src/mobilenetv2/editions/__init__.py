"""The same network in every framework: each edition reads the spec and adds nothing to it."""
