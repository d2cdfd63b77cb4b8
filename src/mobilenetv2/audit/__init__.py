"""Problems of a folder of photos."""
