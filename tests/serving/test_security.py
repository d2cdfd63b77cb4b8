import pytest
from starlette.datastructures import Headers, MutableHeaders

from mobilenetv2.serving.problem import Problem
from mobilenetv2.serving.security import Guard
from mobilenetv2.serving.settings import Settings


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8000", "localhost", "[::1]:8000", "LOCALHOST:1", "127.0.0.2:9", "localhost.:80"],
)
def test_on_loopback_only_loopback_names_are_answered(host: str) -> None:
    guard = Guard(Settings(), ())
    guard.check("/predict", Headers({"host": host}))
    for other in ("evil.example", "", "127.0.0.1.evil.example", "[::1", "10.0.0.1"):
        with pytest.raises(Problem) as caught:
            guard.check("/predict", Headers({"host": other}))
        assert caught.value.status == 421
    guard.check("/v2/health/ready", Headers({"host": "10.0.0.7:8000"}))  # who watches a server


def test_names_can_be_set_and_other_addresses_take_any() -> None:
    Guard(Settings(hosts=("Shop.example",)), ()).check("/", Headers({"host": "shop.example:80"}))
    Guard(Settings(host="0.0.0.0"), ()).check("/", Headers({"host": "any.example"}))


def test_a_token_is_needed_but_for_the_page() -> None:
    guard = Guard(Settings(host="0.0.0.0"), (b"secret-one", b"secret-two"))
    for path in ("/", "/page/main.js", "/vendor/x.js", "/health", "/v2/health/live"):
        guard.check(path, Headers({}))
    for path in ("/predict", "/page.json", "/device/a/model.tflite", "/metrics", "/openapi.json"):
        for given in ("", "Bearer", "Bearer wrong-one", "Basic secret-one", "Bearer secret-one2"):
            with pytest.raises(Problem) as caught:
                guard.check(path, Headers({"authorization": given}))
            assert caught.value.status == 401
            assert caught.value.headers["WWW-Authenticate"] == "Bearer"
        guard.check(path, Headers({"authorization": "Bearer secret-two"}))
        guard.check(path, Headers({"authorization": "bearer  secret-one "}))


@pytest.mark.parametrize("origin", [None, "https://evil.example", "http://[", "null"])
def test_other_origins_get_nothing(origin: str | None) -> None:
    guard, headers = Guard(Settings(origins=("https://shop.example",)), ()), MutableHeaders()
    guard.add_headers(headers, origin)
    assert "access-control-allow-origin" not in headers
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert not guard.preflight(origin)


def test_an_allowed_origin_may_call() -> None:
    guard, headers = Guard(Settings(origins=("https://shop.example",)), ()), MutableHeaders()
    guard.add_headers(headers, "https://shop.example")
    assert headers["access-control-allow-origin"] == "https://shop.example"
    assert "POST" in guard.preflight("https://shop.example")["Access-Control-Allow-Methods"]
    assert headers["content-security-policy"].startswith("default-src 'self'")
