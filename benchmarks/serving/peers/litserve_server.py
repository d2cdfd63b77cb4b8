"""LitServe with an exported network, its own batching and its own worker processes.

python litserve_server.py MODEL.onnx --port 8000 [--workers 2] [--batch 4] [--wait 0.005]
    [--threads 1]
"""

import argparse
from typing import Any

import litserve
import numpy as np
from fastapi import Request
from network import Network


class Classifier(litserve.LitAPI):
    """Classifier of photos for LitServe.

    Args:
        path: path of the ONNX file.
        threads: threads of ONNX Runtime; 0 for its default.
        options: options of LitServe's own class.
    """

    def __init__(self, path: str, threads: int, **options: Any) -> None:
        super().__init__(**options)
        self.path, self.threads = path, threads

    def setup(self, device: str) -> None:
        """Load the network in a worker process."""
        self.network = Network(self.path, self.threads)

    def decode_request(self, request: Request) -> np.ndarray:
        """Return the picture of a form."""
        return self.network.picture(request["file"].file.read())

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        """Return pictures as one array."""
        return np.stack(inputs)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return logits; a lone picture comes without the axis of a batch."""
        return self.network.logits(x if x.ndim == 4 else x[None])

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        """Return the logits of each picture."""
        return list(output)

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        """Return the answer."""
        return self.network.answer(output if output.ndim == 1 else output[0])


def main() -> None:
    """Run the server."""
    parser = argparse.ArgumentParser(description="Serve an exported network by LitServe.")
    parser.add_argument("model")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--wait", type=float, default=0.005)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    batching = {"max_batch_size": options.batch, "batch_timeout": options.wait}
    server = litserve.LitServer(
        Classifier(options.model, options.threads, **(batching if options.batch > 1 else {})),
        accelerator="cpu", workers_per_device=options.workers,
    )  # fmt: skip
    server.run(host="127.0.0.1", port=options.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
