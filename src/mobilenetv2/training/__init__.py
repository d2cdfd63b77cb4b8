"""From labelled photos to a trained model folder."""
