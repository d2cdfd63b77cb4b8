import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

import mobilenetv2 as mn
from mobilenetv2.hub.models import embedded_folder
from mobilenetv2.model import store
from mobilenetv2.serving import requests
from mobilenetv2.serving.page_files import all_files, missing_vendor
from mobilenetv2.spec.records import Labels

Start = Callable[..., AbstractContextManager[httpx.Client]]
Jpeg = Callable[..., bytes]


def test_the_numbers_are_those_of_predict(client: httpx.Client, jpeg: Jpeg) -> None:
    file = jpeg(1)
    found = client.post("/predict?top=3", content=file).json()
    expected = mn.Classifier("embedded", threads=1)(file).to_dict(3)
    assert found == {"model": "small", "answers": [expected]}


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_every_kind_of_photo_is_answered(client: httpx.Client, jpeg: Jpeg, kind: str) -> None:
    (answer,) = client.post("/predict", content=jpeg(2, kind)).json()["answers"]
    assert len(answer["predictions"]) == 5


def test_a_form_has_an_answer_for_each_photo(client: httpx.Client, jpeg: Jpeg) -> None:
    files = [("f", (f"{at}.jpg", jpeg(at))) for at in range(9)]
    files[4:4] = [("f", ("broken.jpg", b"\xff\xd8\xff")), ("f", ("a.pdf", b"%PDF"))]
    answers = client.post("/predict", files=files).json()["answers"]
    assert [one.get("status") for one in answers] == [None] * 4 + [422, 415] + [None] * 5
    assert [one["image"] for one in answers] == [name for _, (name, _) in files]
    alone = client.post("/predict", content=jpeg(8)).json()["answers"][0]
    for one, other in zip(answers[-1]["predictions"], alone["predictions"], strict=True):
        assert one["label"] == other["label"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/predict", b"\xff\xd8\xff cut", 422),
        ("/predict", b"hello", 415),
        ("/predict", b"", 400),
        ("/predict?model=other", b"\xff\xd8\xff", 404),
        ("/predict?top=0", b"\xff\xd8\xff", 400),
        ("/predict?top=%F0", b"\xff\xd8\xff", 400),
        ("/predict?top=000000001" + 5000 * "9", b"\xff\xd8\xff", 400),
        ("/predict?top=00000000199999999999", b"\xff\xd8\xff", 400),
        ("/predict?tpo=3", None, 400),
        ("/explain?top=3", None, 400),
        ("/explain?class=zebra", None, 400),
        ("/explain", b"hello", 415),
        ("/explain", b"\xff\xd8\xff cut", 422),
        ("/none", b"", 404),
    ],
)
def test_a_wrong_request_has_its_status_and_one_sentence(
    client: httpx.Client, jpeg: Jpeg, path: str, body: bytes | None, status: int
) -> None:
    response = client.post(path, content=jpeg(1) if body is None else body)
    assert response.status_code == status
    assert response.json()["status"] == status
    assert "\n" not in response.json()["error"] and len(response.json()["error"]) > 10


def test_a_wrong_method_says_the_right_one(client: httpx.Client) -> None:
    response = client.get("/predict")
    assert response.status_code == 405 and response.headers["allow"] == "POST"


def test_a_heat_map_is_a_picture(client: httpx.Client, jpeg: Jpeg) -> None:
    response = client.post("/explain?class=cat", content=jpeg(1))
    assert response.headers["content-type"] == "image/png"
    assert response.content.startswith(b"\x89PNG") and response.headers["x-class-index"] == "3"


def test_health_and_metrics(client: httpx.Client, jpeg: Jpeg) -> None:
    client.post("/predict", content=jpeg(1))
    assert client.get("/health").json()["processes"] == [{"state": "ready", "restarts": 0}]
    text = client.get("/metrics").text
    assert 'mobilenetv2_requests_total{route="/predict",status="200"}' in text
    assert "pid" not in client.get("/health").text


def test_every_file_that_the_page_names_is_there(client: httpx.Client) -> None:
    response = client.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    # The policy allows neither scripts nor styles in the page itself.
    assert "style=" not in response.text and "<script>" not in response.text
    wanted = set(re.findall(r'(?:href|src)="(page/[^"]+)"', response.text))
    seen: set[str] = set()
    while wanted:
        path = wanted.pop()
        seen.add(path)
        answer = client.get(f"/{path}")
        assert answer.status_code == 200, path
        names = re.findall(r'^(?:import|\} from) .*"\./([\w.]+)";$', answer.text, re.MULTILINE)
        wanted |= {f"page/{name}" for name in names} - seen
        again = client.get(f"/{path}", headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304 and not again.content
    own = {path for path in all_files() if path.startswith("page/")}
    assert seen == own  # none that is not used


@pytest.mark.skipif(bool(missing_vendor()), reason=missing_vendor() or "nothing is missing")
def test_files_for_the_browser(client: httpx.Client) -> None:
    (model,) = client.get("/page.json").json()["models"]
    assert model["name"] == "small" and model["why_not"] == ""
    response = client.get(f"/{model['device']['model']}")
    assert b"TFL3" in response.content[:8]
    (model,) = client.get("/page.json").json()["models"]
    assert model["device"]["bytes"] == len(response.content)
    again = client.get(
        f"/{model['device']['model']}", headers={"if-none-match": response.headers["etag"]}
    )
    assert again.status_code == 304 and not again.content
    for path in ("/device/small/other", "/device/none/model.tflite", "/page/none.js",
                 "/page/..%2f..%2f__init__.py", "/vendor/%2e%2e/settings.py"):  # fmt: skip
        assert client.get(path).status_code == 404, path


def test_too_large_is_refused_while_it_is_read(start: Start, jpeg: Jpeg) -> None:
    with start(max_mb=0.01, photos=2) as client:
        assert client.post("/predict", content=bytes(20_000)).status_code == 413
        chunks = (bytes(1000) for _ in range(20))
        assert client.post("/predict", content=chunks).status_code == 413
        files = [("f", ("a.jpg", jpeg(1, side=16)))] * 3
        assert client.post("/predict", files=files).status_code == 413
        assert client.post("/predict", content=jpeg(1, side=16)).status_code == 200


def test_a_full_queue_is_said_before_the_body_is_read(start: Start, jpeg: Jpeg) -> None:
    with start(queue=1, body_seconds=30) as client:
        port = client.base_url.port
        assert port is not None
        with socket.create_connection(("127.0.0.1", port)) as slow:
            head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n"
            slow.sendall(head)
            end = time.monotonic() + 60
            while client.get("/health").json()["admitted_photos"] == 0:
                assert time.monotonic() < end
            response = client.post("/predict", content=jpeg(1))
            assert response.status_code == 429 and int(response.headers["retry-after"]) >= 1
        while client.get("/health").json()["admitted_photos"]:  # the slow one has left
            assert time.monotonic() < end
        assert client.post("/predict", content=jpeg(1)).status_code == 200


@pytest.mark.parametrize("said", ["Transfer-Encoding: chunked", "Content-Length: 33000000"])
def test_bodies_that_do_not_come_lock_nobody_out(start: Start, jpeg: Jpeg, said: str) -> None:
    with start(max_mb=32, queue_mb=256, body_seconds=20) as client:
        address = ("127.0.0.1", client.base_url.port)
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\n{said}\r\n\r\n".encode()
        with contextlib.ExitStack() as stack:
            silent = [stack.enter_context(socket.create_connection(address)) for _ in range(8)]
            for one in silent:
                one.sendall(head)
            end = time.monotonic() + 60
            while client.get("/health").json()["admitted_photos"] < 8:
                assert time.monotonic() < end
            assert client.post("/predict", content=jpeg(1)).status_code == 200
            assert client.get("/health").json()["admitted_photos"] == 8  # they still wait


def test_a_body_that_stops_is_given_up_before_its_time(
    start: Start, jpeg: Jpeg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "PAUSE_SECONDS", 0.3)
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\nx"
    with start(body_seconds=3600) as client:
        with socket.create_connection(("127.0.0.1", client.base_url.port), timeout=60) as slow:
            slow.sendall(head)
            answer = slow.recv(1000)
            assert answer.startswith(b"HTTP/1.1 408") and b"nothing of the request" in answer
        end = time.monotonic() + 60
        while client.app.pool._bytes:  # type: ignore[attr-defined]
            assert time.monotonic() < end


def test_a_slow_body_and_a_late_answer(start: Start, jpeg: Jpeg) -> None:
    with start(body_seconds=2, deadline=0.05) as client:
        port = client.base_url.port
        assert port is not None
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
            assert slow.recv(100).startswith(b"HTTP/1.1 408")
        files = [("f", (f"{at}.png", jpeg(at, "PNG", 1500))) for at in range(4)]
        response = client.post("/predict", files=files)
        assert response.status_code == 504, response.text
        assert json.loads(response.text)["status"] == 504


def test_a_model_that_has_changed_never_gets_the_labels_of_the_old_one(
    start: Start, jpeg: Jpeg, tmp_path: Path
) -> None:
    config, arrays = store.load(embedded_folder())
    store.save(tmp_path / "m", config, arrays)
    with start({"m": tmp_path / "m"}) as client:
        before = client.post("/predict", content=jpeg()).json()
        labels = Labels(tuple(reversed(config.labels.names)))
        store.save(tmp_path / "m", dataclasses.replace(config, labels=labels), arrays)
        assert client.post("/predict", content=jpeg()).json() == before  # it is in memory
        for path in ("/device/m/model.tflite", "/device/m/config.json"):
            changed = client.get(path)
            assert changed.status_code == 503 and "restart" in changed.json()["error"]
        assert client.post("/explain", content=jpeg()).status_code == 503
        (pid,) = client.app.pool.pids()  # type: ignore[attr-defined]
        os.kill(pid, signal.SIGKILL)
        said: list[str] = []
        for _ in range(200):
            answer = client.post("/predict", content=jpeg())
            assert answer.status_code == 503
            said.append(answer.json()["error"])
            if "changed" in said[-1]:
                break
            time.sleep(0.05)
        assert "restart the server" in said[-1]


def test_a_model_in_the_path_is_the_one_that_is_asked(client: httpx.Client, jpeg: Jpeg) -> None:
    body = {"inputs": [{"name": "pictures", "shape": [1, 32, 32, 3], "datatype": "UINT8",
                        "data": [0] * 3072}]}  # fmt: skip
    assert client.post("/v2/models/small/infer?model=nope", json=body).status_code == 200
