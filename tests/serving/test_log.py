import io
import json

from mobilenetv2.serving.log import AccessLog


def test_a_line_is_json_with_a_time() -> None:
    stream = io.StringIO()
    log = AccessLog(stream)
    log.add(method="GET", status=200)
    log.add(method="POST", path="/x\n{", status=500)
    log.close()
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["status"] == 200 and first["time"].endswith("Z")
    assert second["path"] == "/x\n{"


def test_a_closed_stream_ends_nothing() -> None:
    stream = io.StringIO()
    stream.close()
    log = AccessLog(stream)
    for _ in range(3):
        log.add(status=200)
    log.close()
