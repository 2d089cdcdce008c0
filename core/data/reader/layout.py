"""From paths to classes and a split: a pure function of what lies where, of tables beside the images, of answers."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from core.data.decoding import natural_key
from core.data.reader.names import GENERIC, HELDOUT, TRAIN, has_no_labels, part_of
from core.data.reader.reading_of_set import AUTO, Answers, Question
from core.errors import DataUnavailable, UsageError, quoted
from core.rules import NEWEST

NONE, FOLDERS, NAMES = "none", "folders", "names"
LOOSE_SHARE = 0.1  # of the images; more that lie in no class are a question
Parts = tuple[str, ...]
Classes = dict[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What tables say: image path → its class, and → its part of the split where a table says that too.

    source: the tables, in words. option: what chooses them, as --labels-from takes it. tables: their paths.
    """

    source: str
    option: str
    classes: Mapping[str, str]
    parts: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()


@dataclass(kw_only=True)
class Arranged:
    """Classes in natural order with the paths of their images, in natural order; heldout empty = no test split.

    left_out: kind → how many images have no place. questions: what must be answered before the set is used. tables:
    those that the classes come from.
    """

    layout: str
    split: str = ""
    train: Classes = field(default_factory=dict)
    heldout: Classes = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    doubts: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    tables: tuple[str, ...] = ()


def arrange(
    images: Sequence[str],
    *,
    directories: Collection[str] = (),
    others: Collection[str] = (),
    unread: Collection[str] = (),
    labels: Labels | None = None,
    answers: Answers = Answers(),  # noqa: B008 (frozen)
    most_classes: int = 1000,
    rule: int = NEWEST.folders,
) -> Arranged:
    """What `images` (paths with slashes) are, of `directories` (all there are).

    others, unread: directories that hold files of other kinds, and images in a format that is not read. rule: the
    version of `folders` in core.rules.
    Raises DataUnavailable for what no answer mends, UsageError for an answer that does not fit.
    """
    if not images:
        raise DataUnavailable("there are no images in it", "it needs one directory per class, with images inside")
    tree = _Tree(images, directories, others, unread, answers, rule)
    source = answers.labels_from
    if source == NAMES:
        made = tree.by_names()
    elif source not in (AUTO, FOLDERS) or (source == AUTO and labels and tree.prefers(labels)):
        if labels is None:
            raise UsageError(f"--labels-from: no table '{quoted(source)}' names the images", "give FILE or FILE:COLUMN")
        made = tree.by_labels(labels)
    else:
        made = tree.by_folders()
        if labels and source == AUTO and (question := _disagreement(made, labels)):
            made.questions.append(question)
    _check(made, most_classes)
    _question_loose(made, len(images))
    made.questions = [each for each in made.questions if getattr(answers, each.option) == AUTO]
    if len(made.train) == 1:
        made.doubts.append(f"there is a single class, '{quoted(next(iter(made.train)))}'")
    return _ordered(made)


class _Tree:
    def __init__(
        self,
        images: Sequence[str],
        directories: Collection[str],
        others: Collection[str],
        unread: Collection[str],
        answers: Answers,
        rule: int,
    ) -> None:
        self.rule = rule
        self.paths: list[Parts] = [tuple(path.split("/")) for path in images]
        self.directories = [tuple(path.split("/")) for path in directories]
        self.others, self.unread, self.answers = set(others) - set(unread), set(unread), answers
        self.prefix = self._stripped((), self.paths)
        self.below = [path for path in self.paths if path[: len(self.prefix)] == self.prefix]
        self.unlabelled: Counter[str] = Counter()
        if rule > 2 and answers.classes == AUTO:
            self._set_unlabelled_aside()
        self.split = self._split()

    def _set_unlabelled_aside(self) -> None:
        """Directories that say of themselves that their images have no class, where others lie beside them."""
        at = len(self.prefix)
        tops = {path[at] for path in self.below if len(path) > at + 1}
        aside = {top for top in tops if has_no_labels(top)}
        if not aside or aside == tops:
            return
        self.unlabelled.update(path[at] for path in self.below if path[at] in aside)
        kept = [path for path in self.below if path[at] not in aside]
        self.prefix = self._stripped(self.prefix, kept)
        self.below = [path for path in kept if path[: len(self.prefix)] == self.prefix]

    def _stripped(self, prefix: Parts, paths: Sequence[Parts]) -> Parts:
        """The prefix with every directory that holds all others with images, and so names no class."""
        while True:
            at = len(prefix)
            tops = {path[at] for path in paths if len(path) > at + 1}
            if len(tops) != 1:
                return prefix
            (only,) = tops
            below = {path[at + 1].lower() for path in paths if len(path) > at + 2}
            if not below or below <= GENERIC:
                return prefix
            prefix = (*prefix, only)

    def _split(self) -> dict[str, str]:
        """Directory below the prefix → TRAIN or HELDOUT; empty where directories name no split."""
        at, said = len(self.prefix), self.answers.split
        if said == NONE or self.answers.classes == "1":
            return {}
        tops = {path[at] for path in self.below if len(path) > at + 1}
        if said != AUTO:
            held = [name.strip() for name in said.split(",")]
            if missing := [name for name in held if name not in tops]:
                raise UsageError(
                    f"--split: there is no directory '{quoted(missing[0])}' with images",
                    f"there are: {', '.join(quoted(top, 40) for top in sorted(tops)[:10])}",
                )
            trains = [top for top in tops if part_of(top)[0] == TRAIN] or [
                top for top in tops if top not in held and not part_of(top)[0]
            ]
            return {**dict.fromkeys(trains, TRAIN), **dict.fromkeys(held, HELDOUT)}
        found = {top: part_of(top) for top in tops}
        parts = {top: part for top, (part, _) in found.items() if part}
        rests = {rest for top, (part, rest) in found.items() if part}
        if TRAIN not in parts.values() or (len(rests) > 1 or (len(parts) == 1 and len(tops) > 1 and rests != {()})):
            return {}
        return parts

    def _classes_in(self, prefix: Parts) -> tuple[Classes, list[Parts]]:
        """(the directories below the prefix with the images anywhere in them, the images that lie in none)."""
        at, classes, loose = len(prefix), defaultdict(list), []
        for path in self.below:
            if path[:at] != prefix:
                continue
            if len(path) > at + 1:
                classes[path[at]].append("/".join(path))
            else:
                loose.append(path)
        return classes, loose

    def prefers(self, labels: Labels) -> bool:
        """Whether a table says more than the directories: these hold no classes, one, or parts of a split alone."""
        if 2 * len(labels.classes) < len(self.paths):
            return False
        if self._has_classes():
            return False
        at = len(self.prefix)
        tops = {path[at] for path in self.below if len(path) > at + 1}
        return len(tops) < 2 or all(part_of(top)[0] or top.lower() in GENERIC for top in tops)

    def _has_classes(self) -> bool:
        """Whether the directories of the training part hold classes."""
        trains = [top for top, part in self.split.items() if part == TRAIN]
        return bool(trains) and any(self._real_classes((*self.prefix, top)) for top in trains)

    def _real_classes(self, prefix: Parts) -> bool:
        inside = [path for path in self.below if path[: len(prefix)] == prefix]
        classes, _ = self._classes_in(self._stripped(prefix, inside))
        return bool(classes) and not {name.lower() for name in classes} <= GENERIC

    def by_folders(self) -> Arranged:
        """Classes from directories."""
        if self.answers.classes != AUTO:
            return self._at_level()
        if self.split and self._has_classes():
            return self._by_split()
        classes, loose = self._classes_in(self.prefix)
        made = Arranged(layout=f"the directories in {_shown(self.prefix)}", train=dict(classes))
        self._leave_out(made, loose, "in no class directory")
        if self.rule > 2 and self.answers.split == AUTO:
            _split_each_class(made, at=len(self.prefix))
        outside = len(self.paths) - len(self.below) - self._leave_out_unlabelled(made)
        if outside:
            made.left_out["images beside the directory of the classes"] += outside
        if not classes:
            raise DataUnavailable(*self._unlabelled())
        named = [name for name in classes if part_of(name)[0]]
        rests = {part: {rest for it, rest in map(part_of, named) if it == part} for part in (TRAIN, HELDOUT)}
        alike = len(rests[TRAIN] | rests[HELDOUT]) == 1 or (bool(rests[TRAIN]) and rests[TRAIN] == rests[HELDOUT])
        if self.answers.split != NONE and alike and (len(named) > 1 or len(named) == len(classes)):
            which = " and ".join(f"'{quoted(name, 40)}'" for name in sorted(named)[:3])
            made.questions.append(
                Question(
                    seen=f"{_shown(self.prefix)} holds the directories {which}, named like parts of a split, with no "
                    "class directories inside",
                    taken=f"{len(classes)} classes of these names",
                    option="split",
                    value=NONE,
                )
            )
        self._refuse_empty(self.prefix, classes, "")
        self._doubt_deeper(made, classes)
        return made

    def _by_split(self) -> Arranged:
        made = Arranged(layout="")
        used: dict[str, list[str]] = {TRAIN: [], HELDOUT: []}
        levels: dict[str, Parts] = {}
        for top, part in sorted(self.split.items(), key=lambda each: (each[1] != TRAIN, each[0])):
            start = (*self.prefix, top)
            inside = [path for path in self.below if path[: len(start)] == start]
            prefix = self._stripped(start, inside)
            if part == HELDOUT:  # as deep as the training part, where that gives its classes
                deep = len(next(iter(levels.values()))) if levels else len(start)
                same = next((path[:deep] for path in inside if len(path) > deep + 1), start)
                if {path[deep] for path in inside if len(path) > deep + 1} & set(made.train):
                    prefix = same
            classes, loose = self._classes_in(prefix)
            if not classes or {name.lower() for name in classes} <= GENERIC - set(made.train):
                made.left_out[f"images without a class in '{quoted('/'.join(start), 40)}'"] += len(inside)
                continue
            levels[part] = prefix
            used[part].append(top)
            self._leave_out(made, [*loose, *(path for path in inside if path[: len(prefix)] != prefix)], "in no class")
            self._refuse_empty(prefix, classes, "" if part == TRAIN else " of the test split")
            into = made.train if part == TRAIN else made.heldout
            for name, paths in classes.items():
                into.setdefault(_same_name(name, made) if part == HELDOUT else name, []).extend(paths)
        beside = [path for path in self.below if path[len(self.prefix)] not in self.split]
        for path in beside:
            at = len(self.prefix)
            where = f" in '{quoted('/'.join(path[: at + 1]), 40)}'" if len(path) > at + 1 else " in no directory"
            made.left_out[f"images beside the split{where}"] += 1
        structured = Counter(path[len(self.prefix)] for path in beside if len(path) > len(self.prefix) + 2)
        if structured and used[HELDOUT] == []:
            top = min(structured)
            names = f"'{quoted(used[TRAIN][0], 40)}' and '{quoted(top, 40)}'"
            made.questions.append(
                Question(
                    seen=f"{_shown(self.prefix)} holds the directories {names}, both with directories of images",
                    taken=f"a training part and something to leave out, and not as classes (--split {NONE})",
                    option="classes",
                    value=str(len(levels[TRAIN]) + 1),
                )
            )
        made.layout = f"the directories in {' and '.join(_shown(prefix) for prefix in levels.values())}"
        made.split = _split_words(used)
        outside = len(self.paths) - len(self.below) - self._leave_out_unlabelled(made)
        made.left_out += Counter({"images beside the directory of the parts": outside} if outside else {})
        return made

    def _at_level(self) -> Arranged:
        """Classes from the directories at the level that somebody named."""
        level = int(self.answers.classes) if self.answers.classes.isdecimal() else 0
        if level < 1:
            raise UsageError(f"--classes: must be a level of directories from 1 on, got {self.answers.classes!r}")
        made = Arranged(layout=f"the directories at level {level}")
        loose: list[Parts] = []
        used: dict[str, set[str]] = {TRAIN: set(), HELDOUT: set()}
        for path in self.paths:
            if len(path) <= level:
                loose.append(path)
                continue
            at = len(self.prefix)
            top = path[at] if len(path) > at and at < level - 1 else ""
            part = self.split.get(top, TRAIN) if path[:at] == self.prefix else TRAIN
            if self.split and top and top not in self.split:
                made.left_out[f"images beside the split in '{quoted(top, 40)}'"] += 1
                continue
            used[part].add(top)
            into = made.train if part == TRAIN else made.heldout
            into.setdefault(path[level - 1], []).append("/".join(path))
        self._leave_out(made, loose, "in no class directory")
        if not made.train:
            raise UsageError(f"--classes: no directory at level {level} holds images", "give a smaller level")
        if made.heldout:
            made.split = _split_words({part: sorted(tops) for part, tops in used.items()})
        return made

    def by_labels(self, labels: Labels) -> Arranged:
        """Classes from a table, the split from it or from directories."""
        made = Arranged(layout=labels.source, questions=list(labels.questions), tables=labels.tables)
        used: dict[str, set[str]] = {TRAIN: set(), HELDOUT: set()}
        unlabelled: Counter[str] = Counter()
        for path in self.paths:
            text = "/".join(path)
            label = labels.classes.get(text)
            if label is None:
                unlabelled["/".join(path[:-1])] += 1
                continue
            part, where = labels.parts.get(text, ""), labels.source
            if not part and self.answers.split != NONE:
                where = next((name for name in path[:-1] if name in self.split), "")
                part = self.split.get(where, "")
                if not part and not self.split:
                    where = next((name for name in path[:-1] if part_of(name)[0]), "")
                    part = part_of(where)[0]
            part = part or TRAIN
            used[part].add(where)
            (made.train if part == TRAIN else made.heldout).setdefault(label, []).append(text)
        for place, number in unlabelled.items():
            made.left_out[f"images without a label in '{quoted(place or '.', 40)}'"] += number
        if made.heldout:
            made.split = _split_words({part: sorted(where for where in names if where) for part, names in used.items()})
        if not made.train:
            made.train, made.heldout, made.split = made.heldout, {}, ""
        return made

    def by_names(self) -> Arranged:
        """Classes from the letters with which the names of files begin, as in cat.1.jpg."""
        made = Arranged(layout="the names of the files")
        loose = []
        for path in self.paths:
            name = _begins(path[-1])
            if not name:
                loose.append(path)
                continue
            part = next((self.split[each] for each in path[:-1] if each in self.split), TRAIN)
            (made.train if part == TRAIN else made.heldout).setdefault(name, []).append("/".join(path))
        self._leave_out(made, loose, "whose name begins with no letter")
        if not made.train:
            raise UsageError("--labels-from names: no name of a file begins with letters", "give a table of labels")
        return made

    def _unlabelled(self) -> tuple[str, str]:
        """What to say about images that lie side by side."""
        names = Counter(filter(None, (_begins(path[-1]) for path in self.paths)))
        hint = "put them into one directory per class, or say --labels-from FILE:COLUMN of a table beside them"
        if 2 <= len(names) <= len(self.paths) // 2 and sum(names.values()) == len(self.paths):
            first = " and ".join(f"'{quoted(name, 40)}'" for name in sorted(names)[:2])
            hint = f"their names begin with {first}: --labels-from names makes {len(names)} classes of that"
        return f"{len(self.paths):,} images lie side by side, in no class directory", hint

    def _leave_out(self, made: Arranged, loose: Sequence[Parts], why: str) -> None:
        if loose:
            made.left_out[f"images {why}"] += len(loose)

    def _leave_out_unlabelled(self, made: Arranged) -> int:
        """How many were set aside; said by their directory."""
        for top, number in self.unlabelled.items():
            made.left_out[f"images without a class in '{quoted(top, 40)}'"] += number
        return self.unlabelled.total()

    def _refuse_empty(self, prefix: Parts, classes: Collection[str], of: str) -> None:
        """A directory beside the classes without a single image is a class that lost its images, or holds others."""
        for path in sorted(self.directories):
            if len(path) != len(prefix) + 1 or path[: len(prefix)] != prefix or path[-1] in classes:
                continue
            text = "/".join(path)
            if text in self.unread:
                raise DataUnavailable(
                    f"the class '{quoted(path[-1])}'{of} holds images of a kind that is not read alone",
                    "save them as PNG or JPEG",
                )
            if text not in self.others:
                raise DataUnavailable(f"the class '{quoted(path[-1])}'{of} has no images", "fill or remove it")

    def _doubt_deeper(self, made: Arranged, classes: Classes) -> None:
        at = len(self.prefix)
        deeper: dict[str, set[str]] = defaultdict(set)
        for path in self.below:
            if len(path) > at + 2:
                deeper[path[at]].add(path[at + 1])
        inner = {name for names in deeper.values() for name in names}
        if made.heldout:
            return
        if len(deeper) == len(classes) > 1 and all(len(names) > 1 for names in deeper.values()) and not inner & GENERIC:
            made.doubts.append(
                f"the {len(classes)} classes hold {len(inner)} directories more: --classes {at + 2} makes these classes"
            )


def _split_each_class(made: Arranged, *, at: int) -> None:
    """cat/train, cat/test, dog/train, …: the split that the directories of every class name, if they do."""
    found: dict[str, dict[str, list[str]]] = {TRAIN: {}, HELDOUT: {}}
    used: dict[str, set[str]] = {TRAIN: set(), HELDOUT: set()}
    for name, paths in made.train.items():
        for path in paths:
            steps = path.split("/")
            part, rest = part_of(steps[at + 1]) if len(steps) > at + 2 else ("", ())
            if not part or rest:
                return
            found[part].setdefault(name, []).append(path)
            used[part].add(steps[at + 1])
    if set(found[TRAIN]) == set(made.train) and found[HELDOUT]:
        made.train, made.heldout = found[TRAIN], found[HELDOUT]
        made.split = _split_words({part: sorted(names) for part, names in used.items()})


def _same_name(name: str, made: Arranged) -> str:
    """The training class that a directory of the test split means, also where only case differs."""
    if name in made.train:
        return name
    close = [known for known in made.train if known.casefold() == name.casefold()]
    if len(close) != 1:
        return name
    made.doubts.append(f"the test split's '{quoted(name, 40)}' is taken as the class '{quoted(close[0], 40)}'")
    return close[0]


def _disagreement(made: Arranged, labels: Labels) -> Question | None:
    """A table that sorts the images otherwise than their directories do."""
    places = {path: name for classes in (made.train, made.heldout) for name, paths in classes.items() for path in paths}
    pairs = {(places[path], label) for path, label in labels.classes.items() if path in places}
    if 2 * len(labels.classes) < len(places) or len(pairs) <= min(
        len({a for a, _ in pairs}), len({b for _, b in pairs})
    ):
        return None
    return Question(
        seen=f"{labels.source} and the directories sort the images into different classes",
        taken=f"the {len(made.train)} classes of the directories (the table's: --labels-from {labels.option})",
        option="labels_from",
        value=FOLDERS,
    )


def _check(made: Arranged, most_classes: int) -> None:
    if not made.train:
        raise DataUnavailable("it holds a test split alone", "name the directory to learn from 'train'")
    if foreign := sorted(set(made.heldout) - set(made.train)):
        raise DataUnavailable(f"the class '{quoted(foreign[0])}' is in the test split alone", "add it to 'train' too")
    if len(made.train) > most_classes:
        raise DataUnavailable(f"{len(made.train):,} classes are more than {most_classes:,}", "join some directories")
    folded = Counter(map(_folded, made.train))
    if twice := [name for name in made.train if folded[_folded(name)] > 1]:
        cased = len({_composed(name) for name in twice}) == len(twice)
        how = "in case only" if cased else "in how their accents are encoded only"
        made.doubts.append(f"the classes {' and '.join(map(repr, twice[:2]))} differ {how}")


def _question_loose(made: Arranged, total: int) -> None:
    loose = sum(
        number for kind, number in made.left_out.items() if kind.startswith(("images in no", "images beside the d"))
    )
    if loose > LOOSE_SHARE * total:
        made.questions.append(
            Question(
                seen=f"{loose:,} of {total:,} images lie in no class directory",
                taken=f"{len(made.train)} classes, without these images",
                option="labels_from",
                value=FOLDERS,
            )
        )


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _composed(name).casefold()


def _ordered(made: Arranged) -> Arranged:
    names = sorted(made.train, key=natural_key)
    made.train = {name: sorted(made.train[name], key=natural_key) for name in names}
    made.heldout = {name: sorted(made.heldout[name], key=natural_key) for name in names if name in made.heldout}
    return made


def _begins(file: str) -> str:
    match = re.match(r"[^\W\d_]+(?:[ _-][^\W\d_]+)*", PurePosixPath(file).stem)
    return match[0] if match else ""


def _split_words(used: Mapping[str, Collection[str]]) -> str:
    both = [
        f"{word} {' and '.join(f'{quoted(name, 40)!r}' for name in used[part])}" for part, word in _WORDS if used[part]
    ]
    return ", ".join(both)


def _shown(prefix: Parts) -> str:
    return f"'{quoted('/'.join(prefix), 80)}'" if prefix else "the folder"


_WORDS = ((TRAIN, "training from"), (HELDOUT, "held out from"))
