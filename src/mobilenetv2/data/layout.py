"""The layout of labelled photos: which folders are splits and which are classes, by their names.

The names alone decide, so that a folder, an archive and a list give the same. The rules, in their
order:

1. **Folders around everything** are gone through: ``data/Dataset/train/hat`` is ``train/hat``.
2. **A split folder** has the name of a split (:func:`split_of`: train, training_set, seg_train,
   val, dev, test2 ...) and holds folders of photos. Its classes are these folders; folders around
   them (``seg_train/seg_train/hat``, ``train/images/hat``) are gone through. Photos elsewhere
   beside split folders are an error. Two folders of one split are one split, and names that only
   differ in the split's word (``cats_train``, ``cats_test``) are splits too.
3. **A split folder without classes** (``test/1.jpg``) is left out, and so is ``pred`` or
   ``unlabeled`` beside split folders. Of ``train`` it is an error.
4. **Splits inside the classes** (``hat/train``, ``hat/test``) are used if every class has some.
5. Else every folder is **a class**, with the photos at any depth, and so is an empty one, but none
   that holds other files alone. If ``unlabeled`` is one, a note says so.
6. **The name of a split is no class**: ``test/1.jpg`` beside ``hat/2.jpg`` is an error. Inside of
   splits it is a class, with a note, if all of them have it: ``train/train``, ``test/train``.
7. **Folders that hold folders of the same names** (two or more) are sets, not classes: an error. So
   are splits anywhere else: ``hat/red/train`` beside ``hat/red/test``, or ``hat/val`` and
   ``shoe/val`` beside photos.

What is left out is named, and an ambiguous layout is an error that says what to rename. Every photo
is in one split and one class, or is named in :attr:`Layout.left_out`.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mobilenetv2.data.sources import Folder, tree
from mobilenetv2.errors import DataError, argument
from mobilenetv2.text import SHOWN, counted, listed, quoted

TRAIN, VALIDATION, TEST = "train", "validation", "test"
ALL = "all"
"""Name of the only split in a folder without splits."""

SPLITS = {
    "train": TRAIN, "training": TRAIN, "trainval": TRAIN,
    "validation": VALIDATION, "val": VALIDATION, "valid": VALIDATION, "validate": VALIDATION,
    "dev": VALIDATION, "devel": VALIDATION, "development": VALIDATION,
    "test": TEST, "testing": TEST, "eval": TEST, "evaluation": TEST, "holdout": TEST,
    "heldout": TEST,
}  # fmt: skip
"""Split by the word for it, in lower case."""

PLAIN = frozenset("train training validation val valid test testing".split())
"""Names of split folders that need no note."""

NEUTRAL = frozenset(
    "set sets data dataset datasets split splits image images img imgs photo photos picture "
    "pictures pic pics sample samples file files folder folders dir directory seg jpg jpeg png raw "
    "full final resized original cropped".split()
)
"""Words beside a split's that do not make a name another one: training_set, seg_train."""

UNLABELLED = frozenset("pred predict prediction predictions inference unlabeled unlabelled "
                       "unlabel unknown submission".split())  # fmt: skip
"""Words for folders of photos without classes, which are left out beside splits."""


def split_of(name: str) -> str | None:
    """Return the split that a folder's name stands for; None if it is no name of a split.

    Such a name has one word for a split, and beside it only neutral words (set, data, images ...)
    and numbers; case and separators do not matter: ``train``, ``Training_Set``, ``trainset``,
    ``seg-test``, ``val2017``, ``TestImages``. A name with any other word is none: ``test_tube``.
    """
    words = _words(name)
    found = {SPLITS[word] for word in words if word in SPLITS}
    if any(word not in SPLITS and word not in NEUTRAL for word in words):
        return None
    if found == {TRAIN, VALIDATION}:
        return TRAIN  # train_val: what is trained on
    return found.pop() if len(found) == 1 else None


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case; 'trainset' is two, 'hold-out' is one."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    text = re.sub(r"(?i)\b(hold|held)[\W_]*out", "holdout", text)
    words = []
    for word in re.findall(r"[^\W\d_]+", text.lower()):
        if word in SPLITS or word in NEUTRAL:
            words.append(word)
            continue
        for split in sorted(SPLITS, key=len, reverse=True):
            before, is_there, after = word.partition(split)
            if is_there and all(part in NEUTRAL for part in (before, after) if part):
                words += [part for part in (before, split, after) if part]
                break
        else:
            words.append(word)
    return words


def _is_neutral(name: str) -> bool:
    """Return True for a folder's name that says nothing of a class, such as 'images'."""
    words = _words(name)
    return bool(words) and all(word in NEUTRAL or word in UNLABELLED for word in words)


def _is_unlabelled(name: str) -> bool:
    words = _words(name)
    return not UNLABELLED.isdisjoint(words) and not set(words) - UNLABELLED - NEUTRAL - {*SPLITS}


@dataclass(slots=True)
class Layout:
    """Photos by split and class, and those that are left out."""

    splits: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Names of photos by split and by class; a class may have none."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Names of photos that are in no class, by the folder that is left out."""
    notes: list[str] = field(default_factory=list)
    """Findings that a person may not expect, one sentence each."""

    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes of all splits, sorted."""
        return tuple(sorted({name for split in self.splits.values() for name in split}))

    def add(self, split: str, name: str, folder: "Folder") -> None:
        """Add a class folder of a split; a letter with an accent has several spellings."""
        classes = self.splits.setdefault(split, {})
        classes.setdefault(unicodedata.normalize("NFC", name), []).extend(folder.all_photos())

    def leave_out(self, folder: "Folder", why: str) -> None:
        """Leave a folder out, with a note."""
        photos = self.left_out[folder.path] = folder.all_photos()
        count = counted(len(photos), "photo")
        self.notes.append(f"left out: {count} in {folder.path}/, {why}")


def find_layout(
    place: str, photos: Sequence[str], folders: Iterable[str] = (), others: Iterable[str] = ()
) -> Layout:
    """Find splits and classes in the names of photos and of folders, by the rules of this module.

    Args:
        place: place of the photos, for messages.
        photos: paths with '/' between folders.
        folders: paths of folders, which may be empty; those of photos may be left out.
        others: paths of other files, whose folders are no classes.

    Raises:
        DataError: photos lie outside of class folders, or the layout is ambiguous.
    """
    bare = _around(others) - _around(photos)
    kept = [folder for folder in folders if bare.isdisjoint(_around([f"{folder.strip('/')}/"]))]
    root = _below_wrappers(tree(photos, kept))
    empty = [name for name, f in root.folders.items() if not f.count and split_of(name)]
    for name in empty:
        del root.folders[name]
    layout = _layout_below(place, root)
    layout.notes += [f"left out: {name}/, which has no photos" for name in empty]
    inside = {above for above, _, _ in (name.rpartition("/") for name in photos)}
    if bare := {f for f in bare if f.rpartition("/")[0] not in bare | inside}:
        layout.notes.append(
            f"no classes, since they hold other files alone: {quoted(sorted(bare))}"
        )
    layout.notes += [
        f"{name!r} is taken for a class; if its photos have no class, leave it out with "
        f"{argument('ignore', name)}"
        for name in filter(_is_unlabelled, layout.classes())
    ]
    return layout


def _around(files: Iterable[str]) -> set[str]:
    """Return the paths of all folders around files."""
    folders = {name.rpartition("/")[0] + "/" for name in files}
    return {path[:at] for path in folders for at, sign in enumerate(path) if at and sign == "/"}


def _layout_below(place: str, root: Folder) -> Layout:
    """Return the layout in a folder that is no wrapper."""
    names = {f.name: split for f in root.below() if (split := split_of(f.name))}
    names = names or _named_alike(root.below())
    splits = [folder for folder in root.below() if folder.name in names and folder.below()]
    if splits:
        return _split_layout(place, root, names)
    others = [folder for folder in root.below() if folder.name not in names]
    if names and not others:
        raise DataError(
            f"{_loose(place, root.all_photos())}; {_quoted(names)}, by the names, are splits and "
            "not classes, so rename them if they are classes"
        )
    if names:
        hold, them = ("hold", "them") if len(names) > 1 else ("holds", "it")
        raise DataError(
            f"{place}: {_quoted(names)} {hold} photos but no class folders, and "
            f"{_quoted(folder.name for folder in others)} beside {them} may be classes; make a "
            "folder for each class in what is a split, or leave it out with "
            f"{argument('ignore', min(names))}, or rename it if it is a class"
        )
    return _classes_with_splits(place, root) or _class_layout(place, root)


def _split_layout(place: str, root: Folder, names: dict[str, str]) -> Layout:
    """Return the layout of a folder of split folders, by the split of each name."""
    layout, loose = Layout(), list(root.photos)
    roots: dict[str, Folder] = {}
    flat: list[Folder] = []
    known = {
        c.name for f in root.below() if f.name in names for c in f.below() if len(f.below()) > 1
    }
    for folder in root.below():
        if folder.name in names:
            found = _class_root(folder, names[folder.name], known)
            if found is None:
                flat.append(folder)
            else:
                roots[folder.name] = found
                loose += found.photos
        elif _is_unlabelled(folder.name):
            layout.leave_out(folder, "which by its name has no classes")
        else:
            loose += folder.all_photos()
    no_classes = [f for f in flat if names[f.name] == TRAIN or not roots]
    loose += [photo for folder in no_classes for photo in folder.all_photos()]
    if loose:
        raise DataError(_loose(place, loose, splits=[*roots]))
    for folder in flat:
        layout.leave_out(folder, "which has no class folders")
    kinds: dict[str, set[str]] = {}
    for name, found in roots.items():
        kinds.setdefault(names[name], set()).update(folder.name for folder in found.below())
    shared = set.intersection(*kinds.values()) if len(kinds) > 1 else set[str]()
    for name, found in roots.items():
        inside = found.below()
        odd = [folder for folder in inside if split_of(folder.name)]
        if odd and (len(odd) == len(inside) or any(f.below() or f.name not in shared for f in odd)):
            raise DataError(
                f"{place}: {found.path}/ holds {_quoted(f.name for f in odd)}, as splits are named "
                "and not classes; move the split folders to one place, beside one another, or "
                f"leave one out with {argument('ignore', odd[0].path)}, or rename what is a class"
            )
        _require_no_sets(place, {folder.path: [folder] for folder in inside})
        layout.notes += _splits_inside(place, inside, names[name])
        for folder in found.folders.values():
            if folder.count or not split_of(folder.name):
                layout.add(names[name], folder.name, folder)
            else:
                layout.notes.append(f"left out: {folder.path}/, which has no photos")
    layout.notes += [
        f"{name!r} is taken for a class, since every split has a folder of this name"
        for name in sorted(filter(split_of, shared))
    ]
    used = {name: names[name] for name in roots}
    if any(name.lower() not in PLAIN for name in used) or len(set(used.values())) < len(used):
        pairs = [f"{name!r} as {split}" for name, split in used.items()]
        layout.notes.append(f"folders are taken for splits: {listed(pairs, 2 * SHOWN)}")
    return layout


def _class_layout(place: str, root: Folder) -> Layout:
    """Return the layout of a folder of class folders."""
    if root.photos:
        empty = sorted(folder.name for folder in root.folders.values() if not folder.count)
        raise DataError(_loose(place, root.photos, empty, example=not root.folders))
    inside = root.below()
    holding = [folder for folder in inside if _splits_in(folder)]
    if holding:
        first = holding[0]
        beside = [folder.name for folder in inside if folder not in holding]
        raise DataError(
            f"{place}: {first.path}/ holds what looks like splits ({_quoted(_splits_in(first))}), "
            f"but {_quoted(beside)} beside it does not; give {place}/{first.path} if all classes "
            f"are in there, or leave the others out with {argument('ignore')}; if it is a class, "
            "move its photos straight into it"
        )
    _require_no_sets(place, {folder.path: [folder] for folder in inside})
    _require_no_pairs(place, inside)
    layout = Layout(notes=_splits_inside(place, inside))
    for folder in root.folders.values():
        layout.add(ALL, folder.name, folder)
    below = [folder.below() for folder in inside if not folder.photos]
    if len(below) == len(inside) > 1 and min(map(len, below)) > 1:
        layout.notes.append(
            f"the classes are {_quoted(layout.splits[ALL])}; the {sum(map(len, below)):,} folders "
            "inside them are no classes of their own"
        )
    return layout


def _classes_with_splits(place: str, root: Folder) -> Layout | None:
    """Return the layout if every class folder holds splits (hat/train, hat/test); else None."""
    inside = root.below()
    found = {folder.name: _splits_in(folder) for folder in inside}
    if root.photos or not inside or not all(found.values()):
        return None
    _require_no_sets(place, {f.path: [*found[f.name].values()] for f in inside}, splits=True)
    layout, kinds = Layout(), dict[str, list[Folder]]()
    for folder in root.folders.values():
        for split in found.get(folder.name, {}).values():
            kind = split_of(split.name) or ALL
            kinds.setdefault(kind, []).append(split)
            layout.add(kind, folder.name, split)
    for kind, splits in kinds.items():
        layout.notes += _splits_inside(place, splits, kind)
    for folder in root.folders.values():
        if not folder.count:  # a class without a photo is one, too, and an error later
            for kind in kinds:
                layout.add(kind, folder.name, folder)
    what = "split {}, which is" if len(kinds) == 1 else "splits {}, which are"
    layout.notes.append(
        f"the class folders hold the {what.format(listed(sorted(kinds), SHOWN))} used"
    )
    return layout


def _below_wrappers(folder: Folder) -> Folder:
    """Return the folder inside of those around everything, such as an only class."""
    while not folder.photos and len(folder.below()) == 1:
        (only,) = folder.below()
        inside = only.below()
        kinds = {split_of(below.name) for below in inside}
        if only.photos or (split_of(only.name) and (None in kinds or len(kinds) < 2)):
            break
        if len(folder.folders) > 1 and not _splits_in(only):
            break  # an empty class folder stands beside it
        folder = only
    return folder


def _splits_in(folder: Folder) -> dict[str, Folder]:
    """Return the split folders by name if a folder holds nothing else, also further down."""
    while not folder.photos and folder.count:
        inside = folder.below()
        if all(split_of(below.name) for below in inside):
            return {below.name: below for below in inside}
        if len(inside) > 1:
            break
        folder = inside[0]
    return {}


def _class_root(folder: Folder, kind: str, known: set[str]) -> Folder | None:
    """Return the folder in a split folder that holds its classes; None if it has none.

    Args:
        folder: the split folder.
        kind: its split.
        known: classes of other splits, which are not gone through.
    """
    while len(folder.below()) == 1 and not folder.photos:
        (only,) = folder.below()
        around = split_of(only.name) == kind or _is_neutral(only.name)
        if only.name in known or split_of(only.name) not in (None, kind):
            return folder
        if only.photos and not only.below():
            return None if around else folder
        if only.photos or (len(folder.folders) > 1 and not around):
            return folder
        folder = only
    return folder if folder.below() else None


def _named_alike(folders: list[Folder]) -> dict[str, str]:
    """Return the splits of folders whose names differ in the split's word alone; else {}."""
    found, others = {}, set()
    for folder in folders:
        words = _words(folder.name)
        splits = {SPLITS[word] for word in words if word in SPLITS}
        if len(splits) != 1 or not folder.below():
            return {}
        found[folder.name] = splits.pop()
        others.add(tuple(word for word in words if word not in SPLITS and word not in NEUTRAL))
    return found if len(others) == 1 and len(set(found.values())) > 1 else {}


def _require_no_pairs(place: str, folders: list[Folder]) -> None:
    """Raise for 'hat_train' beside 'hat_test': a class's splits, not two classes."""
    kinds: dict[tuple[str, ...], dict[str, str]] = {}
    for folder in folders:
        words = _words(folder.name)
        splits = {SPLITS[word] for word in words if word in SPLITS}
        rest = tuple(word for word in words if word not in SPLITS)
        if len(splits) == 1 and rest:
            kinds.setdefault(rest, {})[folder.name] = splits.pop()
    for names in kinds.values():
        if len(set(names.values())) > 1:
            raise DataError(
                f"{place}: {_quoted(names)} look like splits of one class, not like classes; make "
                "folders such as train/CLASS and test/CLASS, or rename them if they are classes"
            )


def _splits_inside(place: str, folders: list[Folder], within: str | None = None) -> list[str]:
    """Raise if a folder in a class holds two splits, or if several classes hold a split.

    One class may hold a folder of such a name, of which a note is returned.

    Args:
        place: place of the photos.
        folders: the class folders.
        within: split that they are in, whose name may stand in them again.
    """
    holding: dict[str, str] = {}
    for top in folders:
        left = [top]
        while left:
            folder = left.pop()
            inside = folder.below()
            left += inside
            names = {below.name: kind for below in inside if (kind := split_of(below.name))}
            if len(set(names.values())) > 1:
                raise DataError(
                    f"{place}: {folder.path}/ holds what looks like splits ({_quoted(names)}), "
                    "inside of a class; make folders such as train/CLASS and test/CLASS, or rename "
                    "them if they are none"
                )
            if names and {*names.values()} != {within}:
                holding[top.path] = f"{folder.path}/{min(names)}"
    if len(holding) > 1:
        raise DataError(
            f"{place}: {_quoted(holding.values())} look like splits inside of classes, beside "
            "other photos; make folders such as train/CLASS and test/CLASS, or leave them out with "
            f"{argument('ignore')}, or rename them if they are none"
        )
    return [
        f"{path!r} is taken for a part of a class; if it is a split, leave it out with "
        f"{argument('ignore', path)} or make folders such as train/CLASS and test/CLASS"
        for path in holding.values()
    ]


def _require_no_sets(
    place: str, folders: Mapping[str, Sequence[Folder]], splits: bool = False
) -> None:
    """Raise if two folders hold folders of the same names, two or more: they are no classes.

    Args:
        place: place of the photos.
        folders: where to look, by the path of the folder that may be a class: in that folder
            itself, or in its splits.
        splits: True for splits, which may hold photos themselves.
    """
    owners: dict[str, list[str]] = {}
    held: dict[str, set[str]] = {}
    for path, inside in folders.items():
        held[path] = {one for f in inside if splits or not f.photos for one in f.holders()}
        for one in held[path]:
            owners.setdefault(one, []).append(path)
    for path, paths in held.items():
        if sum(len(owners[one]) > 1 for one in paths) < 2:
            continue
        shared = Counter(other for one in paths for other in owners[one] if other != path)
        twins = [other for other, count in shared.most_common(1) if count > 1]
        if twins:
            same = sorted(paths & held[twins[0]])
            raise DataError(
                f"{place}: {_quoted([path, twins[0]])} hold folders of the same names "
                f"({quoted(same)}), so that they look like splits or sets, not like classes; "
                "rename them to train, validation and test, or give one of them; if they are "
                "classes, move their photos straight into them"
            )


def _loose(
    place: str, photos: Sequence[str], empty: Sequence[str] = (), splits: Sequence[str] = (),
    example: bool = False,
) -> str:  # fmt: skip
    """Return what to say of photos outside class folders, and of empty class folders beside.

    Args:
        place: place of the photos.
        photos: photos outside class folders.
        empty: class folders without photos.
        splits: folders that were taken for splits.
        example: True to give an example of a right place.
    """
    lie = "lies" if len(photos) == 1 else "lie"
    text = (
        f"{place}: {counted(len(photos), 'photo')} {lie} outside the class folders "
        f"({quoted(photos)}); move each into the folder of its class"
    )
    if splits:
        text += (
            f" in a split, or leave it out with {argument('ignore')} (taken for splits, since they "
            f"hold folders of photos: {quoted(splits)})"
        )
    if example:
        text += f", such as {place}/CLASS/{photos[0].rpartition('/')[2]}"
    if empty:
        word = "class folder" if len(empty) == 1 else "class folders"
        text += f"; and add photos to the empty {word} {quoted(empty)}, or remove what is empty"
    return text


def _quoted(names: Iterable[str]) -> str:
    return listed([repr(name) for name in names], SHOWN)
