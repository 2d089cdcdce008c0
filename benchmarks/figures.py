"""The figures of README, cards and docs, drawn again from their files: `python -m benchmarks.figures [--check]`

Each entry of FIGURES names a line of a document, the files that its figures come from, and how they are worded. SAID
names lines of the same sections whose figures are conditions or stand in another text. A line with a figure that
neither names is a fault. Without --check the lines are written; with it, faults are printed and the end is 1.
The images in docs/figures come from `benchmarks.pictures`; `make figures` runs both.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.model_folders.model_card import figures_of

ROOT = Path(__file__).resolve().parents[1]
RESULTS = "benchmarks/results"
DEMO, DEMO_SETTINGS = "models/mnist-demo/lab.json", "models/mnist-demo/lab/config.yaml"
MINUTE = f"{RESULTS}/finish-line-mnist-2026-11-30-image-limit-and-noise-2.json"
EARLIER = f"{RESULTS}/finish-line-mnist-2026-11-30.json"
LARGER = f"{RESULTS}/finish-line-mnist-2026-11-30-300-and-900-steps.json"
QUICK = f"{RESULTS}/first_light-2026-11-23-cpu-resize.json"
H100 = f"{RESULTS}/gpu-training-2026-11-26-h100.json"
README, CARD, DEMO_CARD, LINE = "README.md", "MODEL_CARD.md", "models/mnist-demo/README.md", "docs/finish-line.md"
SECTIONS = {README: "## Measured", CARD: "## Measured", DEMO_CARD: "## Measured", LINE: "## Results"}

Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A line of a document, or its start. key: how the line begins; words: all that it says, from its sources."""

    document: str
    key: str
    sources: tuple[str, ...]
    words: Callable[..., str]


def read(source: str) -> Any:
    """A file that figures come from."""
    text = (ROOT / source).read_text()
    return yaml.safe_load(text) if source.endswith(".yaml") else json.loads(text)


def of(found: Any, entry: str = "minute") -> Rows:
    """The rows of the finish line for that preset."""
    return [row for row in found["rows"] if row["entry"] == entry]


def column(rows: Rows, name: str, wording: Callable[[float], str]) -> str:
    """'0.056 to 0.062', of the smallest and the largest."""
    values = [row[name] for row in rows]
    return f"{wording(min(values))} to {wording(max(values))}"


def quick(found: Any) -> Rows:
    """The evaluation of 5,000 images of each seed of `quick`."""
    return [each for seed in found["seeds"] for each in seed["evaluations"] if each["num_samples"] == 5000]


def short(value: float, digits: int) -> str:
    """'.0761'."""
    return f"{value:.{digits}f}".removeprefix("0")


def percent(value: float) -> str:
    """'99.2', of a share."""
    return f"{100 * value:.1f}"


def interval(report: Mapping[str, Any]) -> str:
    """'99.29 to 99.68', of the class accuracy."""
    return f"{100 * report['class_accuracy_low']:.2f} to {100 * report['class_accuracy_high']:.2f}"


def readme_figures() -> Iterator[Figure]:
    """The tables of README."""

    def figure(key: str, *sources: str) -> Callable[[Callable[..., str]], Figure]:
        return lambda words: Figure(document=README, key=key, sources=sources, words=words)

    yield figure("| guidance |", DEMO, QUICK, MINUTE)(
        lambda demo, small, line: (
            f"| guidance | {demo['report']['guidance_scale']:g} | {quick(small)[0]['guidance_scale']:g} | "
            f"{of(line)[0]['sampling']['guidance_scale']:g} between noise levels "
            "{:g} and {:g} |".format(*of(line)[0]["sampling"]["guidance_interval"])
        )
    )
    yield figure("| right class for the judge", DEMO, QUICK, MINUTE)(
        lambda demo, small, line: (
            f"| right class for the judge (real images: {percent(demo['report']['judge_accuracy'])} %) | "
            f"{demo['report']['class_accuracy']:.2%} ({interval(demo['report'])}) | ".replace("% (", " % (")
            + f"{column(quick(small), 'class_accuracy', percent)} % | {column(of(line), 'class_accuracy', percent)} %, "
            f"mean {percent(statistics.mean(row['class_accuracy'] for row in of(line)))} % |"
        )
    )
    yield figure("| FD-judge (real", DEMO, QUICK, MINUTE)(
        lambda demo, small, line: (
            f"| FD-judge (real held-out images: {demo['report']['fd_floor']:.3f}) | {demo['report']['fd_judge']:.3f} | "
            f"{column(quick(small), 'fd_judge', '{:.3f}'.format)} | {column(of(line), 'fd_judge', '{:.3f}'.format)} |"
        )
    )
    yield figure("| recall (real", DEMO, QUICK, MINUTE)(
        lambda demo, small, line: (
            f"| recall (real images: {demo['report']['real_recall']:.2f}) | {demo['report']['recall']:.2f} | "
            f"{column(quick(small), 'recall', '{:.2f}'.format)} | {column(of(line), 'recall', '{:.2f}'.format)} |"
        )
    )
    yield figure("| training |", QUICK, MINUTE)(
        lambda small, line: (
            "| training | 175 s on one NVIDIA H100 | "
            f"{column(small['seeds'], 'train_cpu_s', '{:.0f}'.format)} CPU-seconds, about four minutes on a quiet core "
            f"of an AMD EPYC, no GPU | {column(of(line), 'wall_s', '{:.0f}'.format)} s on two such cores, on a day "
            f"when `quick-2026-11` took {of(line, 'quick-2026-11')[0]['wall_s']:.0f} s |"
        )
    )
    yield figure("| training seeds", QUICK, MINUTE)(
        lambda small, line: f"| training seeds | 1 | {len(small['seeds'])} | {len(of(line))} |"
    )
    yield figure("| training steps per second", H100)(gpu_words)


def gpu_words(found: Any) -> str:
    """The row of README on training steps per second."""
    vae, unet = (row["steps_per_s"] for row in found["rows"])
    graphs = ("{:.0f} to {:.0f}".format(*each["graphs"]) for each in (vae, unet))
    plain = (f"{statistics.mean(each['none']):.0f}" for each in (vae, unet))
    return (
        "| training steps per second, preset `quick` | VAE {}, U-Net {}; ".format(*graphs)
        + "without CUDA graphs {} and {} | ".format(*plain)
        + "one H100, one seed, `python -m benchmarks.gpu_training` |"
    )


def card_figures() -> Iterator[Figure]:
    """Model card of the demo, and the card that its export wrote."""

    def figure(key: str, words: Callable[[Mapping[str, Any]], str]) -> Figure:
        return Figure(document=CARD, key=key, sources=(DEMO,), words=lambda demo: words(demo["report"]))

    yield figure(
        "5,000 images, UniPC",
        lambda report: (
            f"{report['num_samples']:,} images, UniPC, {report['num_inference_steps']} steps, guidance "
            f"{report['guidance_scale']:g}, sampling seed {report['seed']}, one training seed. The judge is a "
            f"classifier of the lab with {100 * report['judge_accuracy']:.2f} % accuracy on the held-out images."
        ),
    )
    yield figure(
        "| right class for the judge",
        lambda report: (
            f"| right class for the judge | {100 * report['class_accuracy']:.2f} % "
            f"(95 % interval {interval(report)}) | {100 * report['judge_accuracy']:.2f} % |"
        ),
    )
    yield figure(
        "| FD-judge",
        lambda report: f"| FD-judge, lower is better | {report['fd_judge']:.3f} | {report['fd_floor']:.3f} |",
    )
    yield figure(
        "| precision / recall",
        lambda report: (
            f"| precision / recall | {report['precision']:.3f} / {report['recall']:.3f} | "
            f"{report['real_precision']:.3f} / {report['real_recall']:.3f} |"
        ),
    )
    yield figure(
        "| distance to the nearest",
        lambda report: (
            f"| distance to the nearest training image, relative to held-out images | {report['copy_ratio']:.2f} | 1 |"
        ),
    )
    for line in figures_of(read(DEMO)["report"], read(DEMO_SETTINGS)["seed"]).splitlines():
        if re.search(r"\d", line):
            key = line.split("|")[1].strip() if line.startswith("|") else "5,000 images"
            yield Figure(
                document=DEMO_CARD,
                key=f"| {key} |" if line.startswith("|") else key,
                sources=(DEMO, DEMO_SETTINGS),
                words=lambda demo, own, line=line: line,
            )


def line_figures() -> Iterator[Figure]:
    """The finish line."""
    for row in sorted(read(MINUTE)["rows"], key=lambda each: (each["entry"] == "minute", each["seed"])):
        key = f"| *{row['entry']}* | {row['seed']} |"
        yield Figure(
            document=LINE,
            key=key,
            sources=(MINUTE,),
            words=lambda _, key=key, row=row: (
                f"{key} {row['wall_s']:.1f} | {row['cpu_s']:.1f} | {short(row['class_accuracy'], 4)} | "
                f"{short(row['fd_judge'], 4)} | {short(row['precision'], 3)} | {short(row['recall'], 3)} |"
            ),
        )
    yield Figure(document=LINE, key="Means of *minute*", sources=(MINUTE,), words=means)
    yield Figure(document=LINE, key="Earlier on the same day", sources=(EARLIER,), words=earlier)
    yield Figure(document=LINE, key="guidance 2.1 at .25", sources=(LARGER,), words=larger)


def means(found: Any) -> str:
    """The start of the line on means."""
    wall, accuracy, fd, recall = (
        statistics.mean(row[name] for row in of(found)) for name in ("wall_s", "class_accuracy", "fd_judge", "recall")
    )
    return (
        f"Means of *minute*: {wall:.1f} s, accuracy {short(accuracy, 4)}, FD-judge {short(fd, 3)}, recall "
        f"{short(recall, 3)}."
    )


def earlier(found: Any) -> str:
    """The start of the line on slower starts."""
    return (
        "Earlier on the same day, with all 60,000 images encoded, noise of version 1 and slower starts, five seeds "
        f"took {column(of(found), 'wall_s', '{:.1f}'.format)} s, and *quick-2026-11* "
        f"{of(found, 'quick-2026-11')[0]['wall_s']:.1f} s"
    )


def larger(found: Any) -> str:
    """The start of the line on more steps; its seed 0 trained while another program did."""
    rows = [row for row in of(found) if row["seed"]]
    return (
        f"guidance 2.1 at .25 to .8, seeds 1 to 4 took {column(rows, 'wall_s', '{:.0f}'.format)} s and had accuracy "
        f"{column(rows, 'class_accuracy', lambda value: short(value, 4))}, FD-judge "
        f"{column(rows, 'fd_judge', lambda value: short(value, 3))} and recall "
        f"{column(rows, 'recall', lambda value: short(value, 2))}"
    )


FIGURES: tuple[Figure, ...] = (*readme_figures(), *card_figures(), *line_figures())
# (document, how a line begins) → (file, what stands in it): conditions, and figures that another text states
SAID: Mapping[tuple[str, str], tuple[str, str]] = {
    (README, "MNIST, N = 5,000 images"): (QUICK, '"num_samples": 5000'),
    (README, "| runs that were killed and resumed"): ("docs/log.md", "LAB_KILLS=20"),
    (README, "| images of a GPU against"): ("docs/log.md", "GPU against CPU at most one grey level"),
    (LINE, "`benchmarks/results/finish-line"): (MINUTE, '"revision": "a280773'),
    (LINE, "a training of its own"): (MINUTE, '"guidance_scale": 1.8'),
    (LINE, "seed was trained."): (MINUTE, '"entry": "quick-2026-11"'),
    (LINE, "These runs followed"): (MINUTE, '"rules.split": "1"'),
    (LINE, "Where the 78 s"): (MINUTE, '"phases"'),
}


def section(document: str, text: str) -> Iterator[tuple[int, str]]:
    """(place, line) of every line with a digit in the section of measured figures."""
    lines = text.splitlines()
    start = lines.index(SECTIONS[document]) + 1
    for place in range(start, len(lines)):
        if lines[place].startswith("## "):
            return
        if re.search(r"\d", lines[place]):
            yield place, lines[place]


def faults(document: str, text: str) -> list[str]:
    """A sentence per figure of the document that is not what its source says, has none, or is not there."""
    found = []
    drawn = [each for each in FIGURES if each.document == document]
    said = [begins for where, begins in SAID if where == document]
    for place, line in section(document, text):
        for each in drawn:
            if line.startswith(each.key):
                break
        else:
            if not line.startswith(tuple(said)):
                found.append(f"{document}:{place + 1}: a figure without its file: {line[:60]}")
            continue
        words = each.words(*map(read, each.sources))
        if not line.startswith(words):
            found.append(f"{document}:{place + 1}: {', '.join(each.sources)} says: {words}")
    for begins in said:
        source, words = SAID[document, begins]
        if words not in (ROOT / source).read_text():
            found.append(f"{document}: {source} does not say: {words}")
    for key in [*(each.key for each in drawn), *said]:
        if not any(line.startswith(key) for _, line in section(document, text)):
            found.append(f"{document}: no line begins with: {key}")
    return found


def written(document: str, text: str) -> str:
    """The text with its figures as their sources say: a line of a table whole, of a text to the end of its figures."""
    lines = text.splitlines(keepends=True)
    for place, line in section(document, text):
        for each in FIGURES:
            if each.document == document and line.startswith(each.key):
                words = each.words(*map(read, each.sources))
                shape = re.sub(r"(?:\\,|\\\.|\d)+", lambda _: r"[\d.,]+", re.escape(words))
                rest = "" if line.startswith("|") else re.sub(f"^{shape}", "", line)
                lines[place] = f"{words}{rest}\n"
    return "".join(lines)


def main() -> int:
    """Check or write every document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, print faults")
    options = parser.parse_args()
    wrong = []
    for document in SECTIONS:
        path = ROOT / document
        if not options.check:
            path.write_text(written(document, path.read_text()))
        wrong += faults(document, path.read_text())
    print("\n".join(wrong) or f"{len(FIGURES)} lines with figures are what their files say")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
