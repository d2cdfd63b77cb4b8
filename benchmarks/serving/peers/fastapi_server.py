"""FastAPI handlers of an exported network, as people write them.

    python fastapi_server.py MODEL.onnx --port 8000 [--handler async] [--engine torch]
        [--threads 1] [--pool 2] [--processes 2]

A plain handler is called in FastAPI's pool of threads, ``--handler async`` in the event loop.
``--threads`` are those of the engine for one photo, ``--pool`` the most photos at once,
``--processes`` uvicorn's workers.
"""

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio.to_thread
import uvicorn
from fastapi import FastAPI, File, UploadFile
from network import Network

MODEL, ENGINE, THREADS, POOL, HANDLER = (
    "PEER_MODEL", "PEER_ENGINE", "PEER_THREADS", "PEER_POOL", "PEER_HANDLER"
)  # fmt: skip
"""Environment variables that carry the options to uvicorn's workers."""


@asynccontextmanager
async def start(app: FastAPI) -> AsyncIterator[None]:
    """Load the network."""
    environment = os.environ
    app.state.network = Network(
        environment[MODEL], int(environment[THREADS]), environment[ENGINE]
    )  # fmt: skip
    if pool := int(environment[POOL]):
        anyio.to_thread.current_default_thread_limiter().total_tokens = pool
    yield


app = FastAPI(lifespan=start)


async def predict_async(file: UploadFile) -> dict[str, Any]:
    """Answer one photo in the event loop."""
    return app.state.network.answers(await file.read())


def predict_plain(file: Annotated[bytes, File()]) -> dict[str, Any]:
    """Answer one photo in a thread."""
    return app.state.network.answers(file)


app.post("/predict")(predict_async if os.environ.get(HANDLER) == "async" else predict_plain)


@app.get("/health")
def health() -> str:
    """Answer that the network is loaded."""
    return "ok"


def main() -> None:
    """Run the server."""
    parser = argparse.ArgumentParser(description="Serve an exported network by FastAPI.")
    parser.add_argument("model")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--handler", choices=("plain", "async"), default="plain")
    parser.add_argument("--engine", choices=("onnxruntime", "torch"), default="onnxruntime")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--pool", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    os.environ |= {
        MODEL: options.model, ENGINE: options.engine, THREADS: str(options.threads),
        POOL: str(options.pool), HANDLER: options.handler,
    }  # fmt: skip
    uvicorn.run(
        "fastapi_server:app", port=options.port, workers=options.processes, access_log=False,
        log_level="warning",
    )  # fmt: skip


if __name__ == "__main__":
    main()
