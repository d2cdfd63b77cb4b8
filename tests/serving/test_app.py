import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

import mobilenetv2 as mn

Start = Callable[..., AbstractContextManager[httpx.Client]]
Jpeg = Callable[..., bytes]


def test_every_answer_has_the_headers(client: httpx.Client) -> None:
    for path in ("/health", "/none", "/docs", "/predict"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["content-security-policy"].startswith("default-src 'self'"), path
        assert "server" not in headers and "access-control-allow-origin" not in headers


def test_a_request_to_another_host_is_refused(client: httpx.Client) -> None:
    assert client.get("/docs", headers={"host": "evil.example"}).status_code == 421


def test_tokens_and_origins(start: Start, jpeg: Jpeg, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("correct-horse\n")
    with start(tokens=tokens, origins=["https://shop.example"]) as client:
        assert client.post("/predict", content=jpeg(1)).status_code == 401
        assert client.get("/openapi.json").status_code == 401
        bearer = {"authorization": "Bearer correct-horse"}
        assert client.post("/predict", content=jpeg(1), headers=bearer).status_code == 200
        asks = {"origin": "https://shop.example", "access-control-request-method": "POST"}
        allowed = client.options("/predict", headers=asks)
        assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
        refused = client.options("/predict", headers=asks | {"origin": "https://x.example"})
        assert "access-control-allow-origin" not in refused.headers


def test_the_log_has_a_line_for_each_request_and_no_names(
    start: Start, jpeg: Jpeg, capfd: pytest.CaptureFixture[str]
) -> None:
    with start(access_log=True) as client:
        client.post("/explain?class=dog", files={"f": ("private.jpg", jpeg(1))})
    text = capfd.readouterr().err
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    (line,) = [one for one in lines if one["path"] == "/explain"]
    assert line["status"] == 200 and line["method"] == "POST" and line["bytes"] > 100
    assert "private" not in text and "dog" not in text


def test_an_unexpected_error_is_an_answer_with_headers(
    start: Start, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with start() as client:

        def broken() -> dict[str, object]:
            raise RuntimeError("of a test")

        monkeypatch.setattr(client.app.pool, "to_dict", broken)  # type: ignore[attr-defined]
        response = client.get("/health")
        assert response.status_code == 500 and response.json()["status"] == 500
        assert response.headers["x-content-type-options"] == "nosniff"
        assert 'status="500"' in client.get("/metrics").text
    assert "of a test" in capfd.readouterr().err


def test_an_application_can_be_mounted(jpeg: Jpeg) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    inner = mn.app("embedded", workers=1, access_log=False, hosts=["shop.example"])
    outer = Starlette(routes=[Mount("/photos", inner)])

    async def main() -> None:
        transport = httpx.ASGITransport(outer)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
            first = await client.post("/photos/predict", content=jpeg(1))
            assert first.status_code == 503 and "retry-after" in first.headers
            async with asyncio.timeout(60):
                while (await client.get("/photos/health")).status_code != 200:
                    await asyncio.sleep(0.01)
            found = await client.post("/photos/predict", content=jpeg(1))
            assert found.json()["model"] == "embedded"
        await inner.close()

    asyncio.run(main())
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(_start(inner))


async def _start(app: object) -> None:
    app.start()  # type: ignore[attr-defined]
