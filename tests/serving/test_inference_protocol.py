import base64
import json
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

import mobilenetv2 as mn
from mobilenetv2.serving import inference_protocol
from mobilenetv2.serving.inference_protocol import MEMORY, MOST_COST, MOST_JSON, cost_of, parsed
from mobilenetv2.serving.problem import Problem

URL = "/v2/models/small/infer"
Jpeg = Callable[..., bytes]


def image(data: Any, **more: Any) -> dict[str, Any]:
    return {"name": "image", "datatype": "BYTES", "shape": [1], "data": data, **more}


def test_metadata_and_health(client: httpx.Client) -> None:
    assert "binary_tensor_data" in client.get("/v2").json()["extensions"]
    assert client.get("/v2/health/live").json() == {"live": True}
    for path in ("/v2/models/small", "/v2/models/small/versions/1"):
        found = client.get(path).json()
        assert [one["name"] for one in found["inputs"]] == ["image", "pictures"]
        assert found["inputs"][1]["shape"] == [-1, 32, 32, 3]
        assert client.get(f"{path}/ready").json() == {"name": "small", "ready": True}
    for path in ("/v2/models/none", "/v2/models/small/versions/2"):
        assert client.get(path).status_code == 404


def test_json_and_binary_tensors_give_the_numbers_of_predict(
    client: httpx.Client, jpeg: Jpeg
) -> None:
    file = jpeg(1)
    expected = mn.Classifier("embedded", threads=1)(file).probabilities
    body = {"id": "7", "inputs": [image([base64.b64encode(file).decode()])]}
    found = client.post(URL, json=body).json()
    assert found["id"] == "7" and found["outputs"][0]["shape"] == [1, 10]
    np.testing.assert_allclose(found["outputs"][0]["data"], expected, atol=1e-6)
    data = struct.pack("<I", len(file)) + file
    said = {
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1],
                    "parameters": {"binary_data_size": len(data)}}],
        "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}},
                    {"name": "logits"}],
    }  # fmt: skip
    text = json.dumps(said).encode()
    length = {"Inference-Header-Content-Length": str(len(text))}
    response = client.post(URL, content=text + data, headers=length)
    end = int(response.headers["inference-header-content-length"])
    first, second = json.loads(response.content[:end])["outputs"]
    assert first["parameters"]["binary_data_size"] == 40 and len(second["data"]) == 10
    np.testing.assert_allclose(np.frombuffer(response.content[end:], "<f4"), expected, atol=1e-6)


def test_pictures_and_classes(client: httpx.Client) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    tensor = {"name": "pictures", "datatype": "UINT8", "shape": [2, 32, 32, 3],
              "data": pictures.ravel().tolist()}  # fmt: skip
    wanted = [{"name": "probabilities", "parameters": {"classification": 2}}]
    (found,) = client.post(URL, json={"inputs": [tensor], "outputs": wanted}).json()["outputs"]
    assert found["shape"] == [2, 2] and found["datatype"] == "BYTES"
    classify = mn.Classifier("embedded", threads=1)
    for picture, best in zip(pictures, found["data"][::2], strict=True):
        value, index, label = best.split(":")
        guess = classify(picture).top(1)[0]
        assert (int(index), label) == (guess.index, guess.label)
        assert float(value) == pytest.approx(guess.probability, abs=1e-5)


WRONG: list[tuple[Any, int]] = [
    ([], 400),
    ({}, 400),
    ({"inputs": []}, 400),
    ({"inputs": [{}]}, 400),
    ({"inputs": [image(["@"])]}, 400),
    ({"inputs": [image(None)]}, 400),
    ({"inputs": [image([], shape=[0])]}, 400),
    ({"inputs": [image([], shape=[10**9])]}, 413),
    ({"inputs": [image([], shape=[True])]}, 400),
    ({"inputs": [image([], shape="1")]}, 400),
    ({"inputs": [image(["aGVsbG8="])]}, 415),
    ({"inputs": [image(["/9j/"])]}, 422),
    ({"inputs": [image(["/9j/"])], "outputs": [{"name": "x"}]}, 400),
    ({"inputs": [image(["/9j/"])], "outputs": [{}]}, 400),
    ({"inputs": [image(["/9j/"])], "outputs": 3}, 400),
    ({"inputs": [image(["/9j/"])], "id": 3}, 400),
    ({"inputs": [image(None, parameters={"binary_data_size": 5})]}, 400),
    ({"inputs": [{"name": "pictures", "datatype": "UINT8", "shape": [1, 32, 32, 3],
                  "data": [256] * 3072}]}, 400),
    ({"inputs": [{"name": "pictures", "datatype": "UINT8", "shape": [1, 32, 32, 3],
                  "data": [[1], [2, 3]]}]}, 400),
    ({"inputs": [{"name": "pictures", "datatype": "UINT8", "shape": [1, 32, 31, 3],
                  "data": []}]}, 400),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_a_wrong_request_is_said(client: httpx.Client, number: int) -> None:
    body, status = WRONG[number]
    response = client.post(URL, json=body)
    assert response.status_code == status, response.text
    assert response.json()["error"]


def test_what_is_no_json_is_said(client: httpx.Client) -> None:
    deep = b"[" * 100_000
    for body in (b"", b"{", b"\xff\xfe", deep):
        assert client.post(URL, content=body).status_code == 400
    for length in ("-1", "9", "x", "99999999999999999999", "0" * 15 + "9" * 5000):
        headers = {"Inference-Header-Content-Length": length}
        assert client.post(URL, content=b"{}", headers=headers).status_code == 400
    assert client.post(URL, content=b" " * (9 * 2**20)).status_code == 413


def test_json_of_many_values_is_refused_before_it_is_read(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    monkeypatch.setattr(json, "loads", lambda data: read.append(len(data)))
    model = client.app.models[0]  # type: ignore[attr-defined]
    for one in (b"[[]],", b"{},", b"0,"):
        body = b'{"inputs":[' + one * (6 * 2**20 // len(one)) + b"0]}"
        with pytest.raises(Problem) as caught:
            parsed(model, body, None, 64)
        assert caught.value.status == 413 and not read


def test_json_of_ordinary_size_is_cheap_enough() -> None:
    pictures = np.full((2, 224, 224, 3), 255, np.uint8)
    for values in (pictures.ravel().tolist(), pictures.tolist()):
        body = json.dumps({"inputs": [{"data": values}]}).encode()
        assert cost_of(body, len(body)) <= MOST_COST and len(body) <= MOST_JSON
    text = base64.b64encode(bytes(5 * 2**20))
    assert len(text) <= MOST_JSON and cost_of(text, len(text)) == 0


def test_json_is_read_one_at_a_time_and_its_memory_is_counted(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = client.app.pool  # type: ignore[attr-defined]
    now, most, counted = 0, 0, []

    def slow(*given: Any) -> Any:
        nonlocal now, most
        now += 1
        most = max(most, now)
        counted.append(pool._bytes)
        time.sleep(0.05)
        now -= 1
        return parsed(*given)

    monkeypatch.setattr(inference_protocol, "parsed", slow)
    body = b" " * 1000 + b"{}"
    with ThreadPoolExecutor(4) as threads:
        ask = lambda _: client.post(URL, content=body).status_code  # noqa: E731
        assert list(threads.map(ask, range(4))) == [400] * 4
    assert most == 1 and min(counted) >= MEMORY * len(body)
    assert pool._bytes == 0


def test_a_client_of_triton_gets_the_same(client: httpx.Client, jpeg: Jpeg) -> None:
    http = pytest.importorskip(
        "tritonclient.http", reason="tritonclient is missing: pip install 'tritonclient[http]'"
    )
    file = jpeg(4)
    with http.InferenceServerClient(f"127.0.0.1:{client.base_url.port}") as triton:
        assert triton.is_server_live() and triton.is_model_ready("small")
        assert triton.get_model_metadata("small")["versions"] == ["1"]
        given = http.InferInput("image", [1], "BYTES")
        given.set_data_from_numpy(np.array([file], dtype=object))
        found = triton.infer("small", [given], request_id="x").as_numpy("probabilities")
    expected = mn.Classifier("embedded", threads=1)(file).probabilities
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
