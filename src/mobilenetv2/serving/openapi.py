"""Description of a server's routes as OpenAPI 3.1, and a page that shows it."""

import html
from typing import Any

from mobilenetv2 import __version__

PHOTO_TYPES = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")


def _answer(description: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"description": description}
    if schema is not None:
        found["content"] = {"application/json": {"schema": schema}}
    return found


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


ERROR = _ref("Error")
ERRORS = {
    "400": _answer("The request is damaged, or a parameter is wrong.", ERROR),
    "401": _answer("A bearer token is needed.", ERROR),
    "404": _answer("There is no such model.", ERROR),
    "408": _answer("The request came too slowly.", ERROR),
    "413": _answer("The request is too large.", ERROR),
    "415": _answer("The body is no photo.", ERROR),
    "421": _answer("The server is not called so.", ERROR),
    "422": _answer("The photo cannot be decoded.", ERROR),
    "429": _answer("The queue is full; Retry-After says when to come again.", ERROR),
    "500": _answer("The server failed.", ERROR),
    "503": _answer("The models are not ready, or the server ends.", ERROR),
    "504": _answer("No answer within the deadline.", ERROR),
}
_MODEL = {
    "name": "model", "in": "query", "schema": {"type": "string"},
    "description": "Name of the model. Default: the first one.",
}  # fmt: skip
_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}


def _photos(several: bool) -> dict[str, Any]:
    binary = {"type": "string", "contentMediaType": "application/octet-stream"}
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    form = {"type": "array", "items": file, "minItems": 1} if several else file
    content: dict[str, Any] = {kind: {"schema": binary} for kind in PHOTO_TYPES}
    content["multipart/form-data"] = {
        "schema": {"type": "object", "properties": {"photo": form}, "required": ["photo"]}
    }
    return {"required": True, "content": content}


def _get(summary: str, schema: dict[str, Any] | None, more: tuple[str, ...] = ()) -> dict[str, Any]:
    answers = {"200": _answer("The answer.", schema)}
    answers |= {status: ERRORS[status] for status in ("401", "421", *more)}
    return {"summary": summary, "responses": answers}


OBJECT = {"type": "object"}


def description(token: bool) -> dict[str, Any]:
    """Return the description as plain values for JSON.

    Args:
        token: True if a bearer token is needed.
    """
    infer = {
        "summary": "Compute output tensors (Open Inference Protocol).",
        "description": "Tensors may follow the JSON as bytes (the protocol's binary extension): "
        "then the header Inference-Header-Content-Length has the length of the JSON.",
        "parameters": [_NAME],
        "requestBody": {
            "required": True, "content": {"application/json": {"schema": _ref("Inference")}},
        },
        "responses": {"200": _answer("The outputs.", OBJECT), **ERRORS},
    }  # fmt: skip
    paths: dict[str, Any] = {
        "/predict": {"post": {
            "summary": "Predict the classes of photos.",
            "parameters": [_MODEL, {
                "name": "top", "in": "query",
                "schema": {"type": "integer", "minimum": 1, "maximum": 100_000},
                "description": "Most classes for a photo. Default: 5; for a multi-label model, all "
                "above 0.5.",
            }],
            "requestBody": _photos(True),
            "responses": {"200": _answer("An answer for each photo.", _ref("Answers")), **ERRORS},
        }},
        "/explain": {"post": {
            "summary": "Draw the heat map of a class on a photo (Grad-CAM), as PNG.",
            "parameters": [_MODEL, {
                "name": "class", "in": "query", "schema": {"type": "string"},
                "description": "Label, WordNet id or index. Default: the most probable class.",
            }],
            "requestBody": _photos(False),
            "responses": {
                "200": {
                    "description": "The drawing.", "content": {"image/png": {}},
                    "headers": {
                        "X-Class-Index": {
                            "description": "Index of the class.", "schema": {"type": "integer"},
                        },
                        "X-Probability": {
                            "description": "Its probability.", "schema": {"type": "number"},
                        },
                    },
                },
                **ERRORS,
            },
        }},
        "/health": {"get": {
            "summary": "Say the state of the server and of its processes.",
            "responses": {"200": _answer("It is ready.", OBJECT),
                          "503": _answer("It is not ready.", OBJECT)},
        }},
        "/metrics": {"get": {
            "summary": "Give metrics for Prometheus.",
            "responses": {"200": {"description": "The metrics.", "content": {"text/plain": {}}},
                          "401": ERRORS["401"], "421": ERRORS["421"]},
        }},
        "/v2": {"get": _get("Say what the server is (Open Inference Protocol).", OBJECT)},
        "/v2/health/live": {"get": {
            "summary": "Say that the server runs.",
            "responses": {"200": _answer("It does.", OBJECT)},
        }},
        "/v2/health/ready": {"get": {
            "summary": "Say whether the models answer.",
            "responses": {"200": _answer("They do.", OBJECT), "503": _answer("Not yet.", OBJECT)},
        }},
        "/v2/models/{name}": {
            "get": _get("Say what a model takes and gives.", OBJECT, ("404",))
            | {"parameters": [_NAME]},
        },
        "/v2/models/{name}/ready": {
            "get": {
                "summary": "Say whether a model answers.", "parameters": [_NAME],
                "responses": {"200": _answer("It does.", OBJECT), "401": ERRORS["401"],
                              "404": ERRORS["404"], "421": ERRORS["421"],
                              "503": _answer("Not yet.", OBJECT)},
            },
        },
        "/v2/models/{name}/infer": {"post": infer},
    }  # fmt: skip
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "mobilenetv2", "version": __version__,
            "description": "Classes of photos. Photos are kept in memory only while they are "
            "computed.",
        },
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }  # fmt: skip
    if token:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found


_SCHEMAS: dict[str, Any] = {
    "Error": {
        "type": "object", "required": ["error", "status"],
        "properties": {"error": {"type": "string"}, "status": {"type": "integer"}},
    },
    "Answers": {
        "type": "object", "required": ["model", "answers"],
        "properties": {
            "model": {"type": "string"},
            "answers": {"type": "array", "items": {
                "type": "object", "required": ["image"],
                "properties": {
                    "image": {"type": ["string", "null"]},
                    "predictions": {"type": "array", "items": {
                        "type": "object", "required": ["index", "label", "probability"],
                        "properties": {
                            "index": {"type": "integer"}, "label": {"type": "string"},
                            "probability": {"type": "number", "minimum": 0, "maximum": 1},
                        },
                    }},
                    "error": {"type": "string"}, "status": {"type": "integer"},
                },
            }},
        },
    },
    "Inference": {
        "type": "object", "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": {
                "type": "object", "required": ["name", "shape", "datatype", "data"],
                "properties": {
                    "name": {"enum": ["image", "pictures"]},
                    "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}},
                    "datatype": {"enum": ["BYTES", "UINT8"]}, "data": {"type": "array"},
                },
            }},
            "outputs": {"type": "array", "items": {
                "type": "object", "required": ["name"],
                "properties": {"name": {"enum": ["probabilities", "logits"]}},
            }},
        },
    },
}  # fmt: skip


def page(token: bool) -> str:
    """Return an HTML page that lists the routes; it needs no script and no other file."""
    rows = []
    for path, methods in description(token)["paths"].items():
        for method, one in methods.items():
            if not isinstance(one, dict):
                continue
            statuses = ", ".join(sorted(one["responses"]))
            cells = (method.upper(), path, one["summary"], statuses)
            rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>mobilenetv2: routes</title>'
        '<meta name="viewport" content="width=device-width">'
        '<h1>Routes</h1><p>The whole description is in <a href="openapi.json">openapi.json</a>.'
        "</p><table><tr><th>Method<th>Path<th>What it does<th>Statuses</tr>"
        f"{body}</table></html>"
    )
