"""Foreign graphs (ONNX, LiteRT, Keras) as this network."""
