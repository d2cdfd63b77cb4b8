import io

import pytest
from hypothesis import given
from hypothesis import strategies as some

from mobilenetv2.serving.problem import Problem
from mobilenetv2.serving.requests import (
    MOST_FIELDS,
    MOST_HEADERS,
    Upload,
    _Form,
    require_photo,
    uploads,
)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
TYPE = "multipart/form-data; boundary=edge"


def form(*parts: tuple[str, bytes]) -> bytes:
    made = b""
    for headers, data in parts:
        made += b"--edge\r\n" + headers.encode() + b"\r\n\r\n" + data + b"\r\n"
    return made + b"--edge--\r\n"


def file(name: str) -> str:
    return f'Content-Disposition: form-data; name="photo"; filename="{name}"'


def test_the_files_of_a_form_are_its_photos() -> None:
    field = 'Content-Disposition: form-data; name="top"'
    body = form((file("a.png"), PNG), (field, b"3"), (file("b.txt"), b"x\r\n--edg"), (field, PNG))
    found = uploads(TYPE, body, 9)
    assert found == [Upload("a.png", PNG), Upload("b.txt", b"x\r\n--edg"), Upload(None, PNG)]


def test_a_form_of_httpx_is_read(jpeg: object) -> None:
    import httpx

    request = httpx.Request(
        "POST", "http://x/", files=[("f", ("ä.png", io.BytesIO(PNG))), ("g", ("b.png", PNG))]
    )
    found = uploads(request.headers["content-type"], request.read(), 9)
    assert [one.data for one in found] == [PNG, PNG] and found[1].name == "b.png"


@pytest.mark.parametrize("kind", ["", "image/png", "application/x-www-form-urlencoded"])
def test_a_photo_is_one_whatever_it_is_called(kind: str) -> None:
    assert uploads(kind, PNG, 1) == [Upload(None, PNG)]


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("text/plain", b"hello", 415),
        ("image/png", b"", 400),
        ("multipart/form-data", b"", 400),
        ("multipart/form-data; boundary=\xe9", b"", 400),
        (f"multipart/form-data; boundary={'x' * 300}", b"", 400),
        (TYPE, b"", 400),
        (TYPE, b"--edge--\r\n", 400),
        (TYPE, b"no form", 400),
        (TYPE, form((file("a.png"), PNG))[:-10], 400),
        (TYPE, form((file("a.png"), PNG)) .replace(b"form-data; n", b"form-data; n" * 2000), 400),
        (TYPE, form(*[(file("a.png"), PNG)] * 3), 413),
    ],
)  # fmt: skip
def test_a_wrong_body_has_its_status(kind: str, body: bytes, status: int) -> None:
    with pytest.raises(Problem) as caught:
        uploads(kind, body, 2)
    assert caught.value.status == status


def test_a_form_of_many_parts_is_left_at_the_first_too_many() -> None:
    begun = 0

    class Counting(_Form):
        def _begin(self) -> None:
            nonlocal begun
            begun += 1
            super()._begin()

    body = b"--edge\r\nA:b\r\n\r\n\r\n" * 20_000 + b"--edge--\r\n"
    with pytest.raises(Problem) as caught:
        Counting(b"edge", 2).parsed(body)
    assert caught.value.status == 413 and begun == 2 + MOST_FIELDS + 1
    fields = [('Content-Disposition: form-data; name="a"', b"1")] * MOST_FIELDS
    assert len(uploads(TYPE, form(*fields, (file("a.png"), PNG), (file("b.png"), PNG)), 2)) == 2


def test_the_headers_of_a_part_are_bounded_together() -> None:
    ended = 0

    class Counting(_Form):
        def _end_header(self) -> None:
            nonlocal ended
            ended += 1
            super()._end_header()

    with pytest.raises(Problem) as caught:
        Counting(b"edge", 2).parsed(form(("A:b\r\n" * 100_000 + file("a.png"), PNG)))
    assert caught.value.status == 400 and ended <= MOST_HEADERS


@given(some.binary(max_size=200), some.binary(max_size=200))
def test_any_body_is_read_or_refused(head: bytes, data: bytes) -> None:
    body = b"--edge\r\n" + head + b"\r\n\r\n" + data + b"\r\n--edge--\r\n"
    try:
        uploads(TYPE, body, 5)
    except Problem as problem:
        assert 400 <= problem.status < 500


@pytest.mark.parametrize(
    "name", ["x'y.png", "utf-9''x", "\r", "=?x?q?=", "a" * 5000]
)  # fmt: skip
def test_any_name_is_read(name: str) -> None:
    for start in ("filename=", "filename*="):
        headers = f'Content-Disposition: form-data; name="p"; {start}{name}'
        try:
            uploads(TYPE, form((headers, PNG)), 5)
        except Problem as problem:
            assert problem.status == 400


@pytest.mark.parametrize(
    "data", [b"\xff\xd8\xff", PNG, b"GIF89a", b"BM", b"RIFF....WEBP", b"II*\0", b"MM\0+",
             b"....ftypavif", b"....ftypheic", b"P6 ", b"x TRUEVISION-XFILE.\0"],
)  # fmt: skip
def test_a_format_that_is_read_may_be_decoded(data: bytes) -> None:
    assert require_photo(Upload(None, data)) is None


@pytest.mark.parametrize(
    ("data", "part"), [(b"%PDF-1", "PDF"), (b"hello", "not a picture"), (b"<svg>", "SVG")]
)
def test_what_is_no_photo_is_said(data: bytes, part: str) -> None:
    problem = require_photo(Upload("a.bin", data))
    assert problem is not None and problem.status == 415
    assert part in problem.sentence and problem.sentence.startswith("a.bin: ")
    empty = require_photo(Upload(None, b""))
    assert empty is not None and empty.status == 422
