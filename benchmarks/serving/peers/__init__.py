"""Other people's ways to serve a network, run by an environment without this project."""
