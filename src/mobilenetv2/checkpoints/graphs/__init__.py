"""Recognition of this network in foreign graphs (ONNX, LiteRT, Keras)."""
