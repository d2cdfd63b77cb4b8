"""Import and export of foreign checkpoint files."""
