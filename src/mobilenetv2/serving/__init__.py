"""Serving over HTTP: photos in, answers out, and the page that asks for them."""
