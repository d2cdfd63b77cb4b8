import asyncio
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.errors import WeightsError
from mobilenetv2.hub.models import embedded_folder
from mobilenetv2.serving.computing.compute import PICTURES, digest_of, given_values, job_of
from mobilenetv2.serving.computing.process import Group, Item, Lost, Process
from mobilenetv2.spec.foreign import NOTHING


def job(place: str) -> dict[str, object]:
    values = {"name": "a", "place": place, "runtime": None, "given": given_values(NOTHING),
              "digest": digest_of(Path(place))}  # fmt: skip
    return job_of([values], False)


def test_a_process_answers_groups_and_ends_with_its_stdin() -> None:
    async def main() -> None:
        process = await Process.start(job(str(embedded_folder())), loud=True)
        data = np.zeros((1, 32, 32, 3), np.uint8).tobytes()
        future = asyncio.get_running_loop().create_future()
        for number in (3, 4):
            process.send(number, Group([Item("a", PICTURES, data, 1, {}, 0.0, future)] * 2))
        for number in (3, 4):
            said, made = await process.receive()
            assert said["id"] == number and len(made) == 80
        await process.end(60)
        with pytest.raises(Lost):
            await process.receive()
        process.send(5, Group([Item("a", PICTURES, data, 1, {}, 0.0, future)]))
        assert 5 in process.held

    asyncio.run(main())


def test_the_error_of_a_model_is_its_own() -> None:
    with pytest.raises(WeightsError, match="nowhere"):
        asyncio.run(Process.start(job("nowhere"), loud=False))
