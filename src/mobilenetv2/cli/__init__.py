"""Command line ``mobilenetv2``; a verb imports its room only when it runs."""
