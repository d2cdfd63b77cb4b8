"""Writer of a page with a model in it: a static folder, whose visitors compute on their devices."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError
from mobilenetv2.exporting.job import Options
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.runtime.engines.engine import Artifact, Engine, Output
from mobilenetv2.runtime.predictor import create_engine, load_artifact
from mobilenetv2.serving.device_files import GRAPH, NAMES, content
from mobilenetv2.serving.page_facts import FOLDER, Facts, page_facts
from mobilenetv2.serving.page_files import all_files, missing_vendor
from mobilenetv2.spec.records import ModelConfig

FACTS, README = "page.json", "README.txt"
HOW = """\
This folder is a web page, which a web host serves as it is; to try it here, run \
'python -m http.server' in it and open http://localhost:8000. The headers \
'Cross-Origin-Opener-Policy: same-origin' and 'Cross-Origin-Embedder-Policy: require-corp' are \
optional: with them browsers compute in several threads.
"""


def write_web(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Write the folder: the page's files, the model's, and the facts that the page reads of it.

    Raises:
        ArtifactError: this installation lacks files of the page.
    """
    if lacking := missing_vendor():
        raise ArtifactError(lacking)
    files = {path: file.plain() for path, file in all_files().items()}
    inside = f"{FOLDER}/{options.name}"
    files |= {f"{inside}/{name}": content(name, config, arrays) for name in NAMES}
    files[README] = HOW.encode()
    for path, data in files.items():
        place = out / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    model = Facts(options.name, out / inside, config, explains=True)
    facts = page_facts([model], None, {model.name: len(files[f"{inside}/{GRAPH}"])})
    (out / FACTS).write_text(json.dumps(facts, ensure_ascii=False) + "\n", "utf-8")


def reload(out: Path, threads: int | None = None) -> Engine:
    """Return the engine of the graph that browsers compute, run by LiteRT here.

    Raises:
        ArtifactError: the graph was changed or damaged, or is not that of the model folder beside
            it, which is for what is taught in the browser.
        WeightsError: that folder is damaged.
    """
    (place,) = (out / FOLDER).iterdir()
    artifact, (config, _) = load_artifact(place / GRAPH), store.load(place)
    if artifact.config != config:
        raise ArtifactError(f"{place / GRAPH}: another network than that of {place}")
    return OnDevice(artifact, threads)


class OnDevice(Engine):
    """Engine of the graph for browsers, whose probabilities are what a visitor sees.

    Logits are not compared: with weights of 8 bits they may differ by much where the answer does
    not, since a softmax takes no notice of what all of them have in common.
    """

    outputs = ("probabilities",)

    def __init__(self, artifact: Artifact, threads: int | None) -> None:
        super().__init__(artifact.where)
        self.kind = artifact.config.spec.classifier.outputs
        self.engine = create_engine(artifact, threads=threads)

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """Return the probabilities of a batch; of a single logit that of the second class."""
        logits = self.engine.run(x, "logits")
        found = probabilities(logits, self.kind)[:, -logits.shape[1] :]
        return np.asarray(found, np.float32)
