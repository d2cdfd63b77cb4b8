import httpx

from mobilenetv2.serving.openapi import description, page


def test_the_description_has_the_routes_that_answer(client: httpx.Client) -> None:
    found = client.get("/openapi.json").json()
    assert found == description(False) and found["openapi"] == "3.1.0"
    for path, methods in found["paths"].items():
        for method in methods:
            response = client.request(method, path.replace("{name}", "small"))
            said = methods[method]["responses"]
            assert str(response.status_code) in said, (path, response.status_code)
    assert "security" not in found and description(True)["security"] == [{"token": []}]


def test_every_reference_is_there() -> None:
    text = str(description(True))
    for name in ("Error", "Answers", "Inference"):
        assert f"#/components/schemas/{name}" in text
        assert name in description(True)["components"]["schemas"]


def test_the_page_lists_every_route_without_a_script(client: httpx.Client) -> None:
    response = client.get("/docs")
    assert response.text == page(False) and "<script" not in response.text
    for path in description(False)["paths"]:
        assert f"<td>{path}</td>" in response.text
