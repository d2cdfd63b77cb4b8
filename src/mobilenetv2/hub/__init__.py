"""Published models by name, their download, and the cache."""
