"""Photos on servers that the user names: object stores, Hugging Face, the web."""
