import json

from mobilenetv2.serving.problem import Problem, busy


def test_a_problem_is_json_with_its_status() -> None:
    response = Problem(415, "no photo", {"X": "y"}).response()
    assert response.status_code == 415 and response.headers["x"] == "y"
    assert json.loads(bytes(response.body)) == {"error": "no photo", "status": 415}


def test_who_is_to_come_again_is_told_when() -> None:
    assert busy(0.2, "full").headers == {"Retry-After": "1"}
    assert busy(7.4, "full", 503).headers == {"Retry-After": "7"}
    assert busy(7.4, "full", 503).status == 503
