import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.errors import ArtifactError
from mobilenetv2.hub.models import embedded_folder
from mobilenetv2.serving.computing.compute import (
    PHOTOS,
    PICTURES,
    digest_of,
    given_values,
    job_of,
)
from mobilenetv2.serving.computing.pool import Pool
from mobilenetv2.serving.metrics import Metrics
from mobilenetv2.serving.problem import Problem
from mobilenetv2.serving.settings import Settings
from mobilenetv2.spec.foreign import NOTHING

Use = Callable[[Pool], Awaitable[None]]


def run(use: Use, place: str = "", **settings: object) -> list[str]:
    """Use a pool of the embedded model; what was noted of its processes."""
    values = {"name": "a", "place": place or str(embedded_folder()), "runtime": None,
              "given": given_values(NOTHING),
              "digest": digest_of(Path(place or embedded_folder()))}  # fmt: skip
    notes: list[str] = []

    async def main() -> None:
        chosen = Settings(**{"workers": 1, **settings})  # type: ignore[arg-type]
        pool = Pool(job_of([values], False), chosen, Metrics(), notes.append)
        pool.start()
        try:
            async with asyncio.timeout(120):
                await use(pool)
        finally:
            await pool.close(5)

    asyncio.run(main())
    return notes


async def until(true: Callable[[], object]) -> None:
    while not true():
        await asyncio.sleep(0.01)


def count(pool: Pool, outcome: str) -> float:
    return pool._metrics.photos.labels("a", outcome)._value.get()


def test_photos_are_computed_together_and_in_order(jpeg: Callable[..., bytes]) -> None:
    async def use(pool: Pool) -> None:
        assert not pool.ready
        with pytest.raises(Problem) as caught:
            pool.admit(1, 1)
        assert caught.value.status == 503
        await until(lambda: pool.ready)
        files = [jpeg(seed) for seed in range(12)]
        with pool.admit(12, 1000):
            assert pool.admitted == 12
            every = await asyncio.gather(*(pool.compute("a", PHOTOS, file) for file in files))
            alone = [await pool.compute("a", PHOTOS, file) for file in files]
        assert pool.admitted == 0 and pool.waiting == 0
        for (one,), (other,) in zip(every, alone, strict=True):
            assert isinstance(one, np.ndarray) and isinstance(other, np.ndarray)
            np.testing.assert_allclose(one, other, atol=1e-4)
        assert len({row.tobytes() for (row,) in alone}) == 12  # type: ignore[union-attr]
        pictures = np.zeros((5, 32, 32, 3), np.uint8)
        found = await pool.compute("a", PICTURES, pictures.tobytes(), 5)
        assert len(found) == 5
        assert count(pool, "answered") == 29

    assert run(use, batch=4) == []


def test_what_does_not_fit_is_refused_at_once() -> None:
    async def use(pool: Pool) -> None:
        await until(lambda: pool.ready)
        with pool.admit(3, 900_000) as places:
            for photos, size in ((2, 0), (1, 200_000)):
                with pytest.raises(Problem) as caught:
                    places.more(photos, size)
                assert caught.value.status == 429 and "Retry-After" in caught.value.headers
            assert pool.admitted == 3
            places.more(1, 100_000)
            places.more(-2, -500_000)
            assert pool.admitted == 2
        assert pool.admitted == 0
        pool.draining = True
        with pytest.raises(Problem) as caught:
            pool.admit(1, 1)
        assert caught.value.status == 503 and not pool.ready

    run(use, queue=4, queue_mb=1, max_mb=0.5)


def test_a_caller_who_leaves_costs_nothing(jpeg: Callable[..., bytes]) -> None:
    async def use(pool: Pool) -> None:
        await until(lambda: pool.ready)
        tasks = [asyncio.create_task(pool.compute("a", PHOTOS, jpeg(i))) for i in range(20)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert count(pool, "dropped") == 20
        (found,) = await pool.compute("a", PHOTOS, jpeg(1))
        assert isinstance(found, np.ndarray)
        assert pool._metrics.groups.labels("a")._sum.get() < 21  # what nobody awaits is left out

    run(use, batch=2)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL, which Windows lacks")
def test_a_process_that_dies_is_replaced_and_only_what_it_held_fails(
    jpeg: Callable[..., bytes],
) -> None:
    async def use(pool: Pool) -> None:
        await until(lambda: pool.ready)
        (pid,) = pool.pids()
        os.kill(pid, signal.SIGSTOP)
        tasks = [asyncio.create_task(pool.compute("a", PHOTOS, jpeg(i))) for i in range(10)]
        await until(lambda: pool.waiting == 8)  # two groups are held
        os.kill(pid, signal.SIGKILL)
        found = [one for (one,) in await asyncio.gather(*tasks)]
        lost = [one for one in found if isinstance(one, Problem)]
        assert [one.status for one in lost] == [503] * 2 and count(pool, "lost") == 2
        assert found[:2] == lost  # the others were answered by the next process
        assert pool.to_dict()["processes"] == [{"state": "ready", "restarts": 1}]
        assert pool.pids() != [pid]

    (note,) = run(use, batch=2)
    assert "died" in note


def test_a_model_that_cannot_be_loaded_ends_the_wait() -> None:
    async def use(pool: Pool) -> None:
        assert pool.failed is not None
        error = await pool.failed
        assert "nowhere" in str(error)
        with pytest.raises(Problem):
            pool.admit(1, 1)

    assert any("nowhere" in note for note in run(use, "nowhere"))


def test_a_process_that_cannot_start_is_tried_again_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "mobilenetv2.serving.computing.process.MODULE", "mobilenetv2.serving.none_such"
    )

    async def use(pool: Pool) -> None:
        assert pool.failed is not None
        assert isinstance(await pool.failed, ArtifactError)
        assert pool.to_dict()["processes"][0]["state"] == "failed"

    assert len(run(use)) == 3


def test_what_was_admitted_is_answered_before_the_end(jpeg: Callable[..., bytes]) -> None:
    async def use(pool: Pool) -> None:
        await until(lambda: pool.ready)

        async def ask(seed: int) -> object:
            with pool.admit(1, 1):
                (found,) = await pool.compute("a", PHOTOS, jpeg(seed))
                return found

        tasks = [asyncio.create_task(ask(seed)) for seed in range(8)]
        await asyncio.sleep(0)
        assert pool.admitted == 8
        await pool.close(30)
        assert all(isinstance(one, np.ndarray) for one in await asyncio.gather(*tasks))

    run(use)
