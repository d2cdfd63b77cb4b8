"""Photos in shards: .tar files in WebDataset's layout with one index."""
