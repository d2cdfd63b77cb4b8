"""Tables of photos: CSV, TSV, JSON Lines and Parquet."""
