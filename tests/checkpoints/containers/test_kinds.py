"""Every recognisable kind of file has one sentence that says what to do."""

from mobilenetv2.checkpoints.containers.kinds import KINDS, sentence


def test_no_sentence_calls_a_file_damaged() -> None:
    for key, kind in KINDS.items():
        assert sentence(key) == kind.sentence and "damaged" not in kind.sentence
