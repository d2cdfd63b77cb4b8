import hashlib
from collections.abc import Callable

from PIL import Image

from mobilenetv2.data.dataset import Photo, Split, lay_out
from mobilenetv2.data.look import look, look_at
from mobilenetv2.data.sources import MemorySource
from mobilenetv2.errors import ImageError

Png = Callable[[int], bytes]


class Counting(MemorySource):
    """Files in memory that count how often each is read."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__("place", files)
        self.reads: list[str] = []

    def read(self, name: str) -> bytes:
        self.reads.append(name)
        if name.endswith("gone.png"):
            raise ImageError(f"place/{name}: cannot be opened (No such file or directory)")
        return super().read(name)


def size(name: str, data: bytes, image: Image.Image) -> tuple[str, int, int, int]:
    if len(data) == 3:
        raise AssertionError("never decoded")
    return name, len(data), *image.size


def test_every_photo_is_read_once_in_order_whatever_is_wrong_with_it(png: Png) -> None:
    files = {f"{s}/{c}/{i}.png": png(i) for s in ("train", "test") for c in "ab" for i in range(3)}
    files |= {"train/a/bad.png": b"bad", "test/b/gone.png": b""}
    source = Counting(files)
    splits = list(lay_out(source).splits.values())
    looks = list(look_at(splits, size))
    assert sorted(source.reads) == sorted(files)
    assert [one.photo for one in looks] == [p for split in splits for p in split.photos]
    assert [one.split for one in looks] == [s.name for s in splits for _ in s.photos]
    for one in looks:
        data = files[one.photo.name]
        if one.photo.name == "test/b/gone.png":
            assert (one.digest, one.seen) == (one.photo.name, None)
            assert (
                one.problem == "place/test/b/gone.png: cannot be opened (No such file or directory)"
            )
        elif data == b"bad":
            assert one.digest == hashlib.sha256(data).hexdigest() and one.seen is None
            assert one.problem.startswith("place/train/a/bad.png: not a picture")
        else:
            assert one.digest == hashlib.sha256(data).hexdigest()
            assert (one.problem, one.seen) == ("", (f"place/{one.photo.name}", len(data), 5, 6))


def test_a_photo_that_cannot_be_used_is_one_with_a_problem(png: Png) -> None:
    def refuse(name: str, data: bytes, image: Image.Image) -> None:
        raise ImageError(f"{name}: too long")

    split = Split("all", MemorySource("place", {"a/1.png": png(1)}), ("a",), ())
    one = look(split, Photo("a/1.png", 0), refuse)
    assert (one.problem, one.seen) == ("place/a/1.png: too long", None)
