"""The card of an exported model: what it is, how good it is with its uncertainty, how to use it. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from core.config.schema import Settings
from core.model_folders.model_facts import GRID_FILE, JUDGE_FOLDER
from core.words import guidance_in_words


def model_card(facts: Mapping[str, Any], settings: Settings, *, scheduler: str, latent_kl: Sequence[float] = ()) -> str:
    """README.md with YAML front matter as model hubs read it.

    facts: as in lab.json. latent_kl (c,): what each latent channel carries, nats per image; empty when unknown.
    """
    front = {
        "license": facts["licence"],
        "library_name": "diffusers",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["latent-diffusion", "class-conditional", settings.diffusion.schedule, facts["data_set"]],
        "datasets": [facts["data_set"]],
    }
    wanted = settings.sampling
    names = ", ".join(_plain(name) for name in facts["class_names"][:20])
    more = "" if len(facts["class_names"]) <= 20 else f" and {len(facts['class_names']) - 20} more"
    data = _plain(facts["data_title"] or facts["data_set"])
    first = facts["class_names"][0].replace(",", " ")
    flow = settings.diffusion.schedule == "flow"
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n",
        f"# {_plain(facts['title'])}\n",
        f"A class-conditional latent diffusion model trained on {data} ({settings.data.image_size} pixels, "
        f"{'gray' if facts['channels'] == 1 else 'color'}). Classes: {names}{more}.\n",
        f"![One row per class, guidance {wanted.guidance_scale:g}, seed {wanted.seed}]({GRID_FILE})\n",
        "## Use it\n\nPlain diffusers, no code of ours:\n\n```python\nfrom diffusers import DiTPipeline\n\n"
        'pipeline = DiTPipeline.from_pretrained("PATH_OF_THIS_FOLDER")\n'
        f"ids = pipeline.get_label_ids([{first!r}])  # or plain class numbers\n"
        f"images = pipeline(ids, guidance_scale={wanted.guidance_scale:g}, "
        f"num_inference_steps={wanted.num_inference_steps}).images\n```\n",
        "Latent Diffusion Lab, where the images are those of the training run bit for bit:\n\n"
        "```\npython -m core sample PATH_OF_THIS_FOLDER --per-label 10\n```\n",
        figures_of(facts.get("report"), settings.seed),
        "## How it was made\n\n"
        f"- U-Net {list(settings.unet.block_out_channels)}, {settings.train_unet.steps:,} steps of "
        f"{settings.train_unet.batch_size}; {facts['weights']} weights of step {facts['step']:,}"
        f"{', trained on ' + _plain(facts['trained_on']) if facts.get('trained_on') else ''}.\n"
        f"- VAE {list(settings.vae.block_out_channels)}, {settings.train_vae.steps:,} steps of "
        f"{settings.train_vae.batch_size}; {settings.vae.latent_channels} latent channels{_carried(latent_kl)}.\n"
        f"- Schedule {settings.diffusion.schedule}, prediction {settings.diffusion.prediction_type}; {scheduler}.\n"
        f"- Dataset {_plain(facts['data_set'])}, fingerprint `{facts['fingerprint'][:12]}`; run "
        f"`{_plain(facts['run_id'])}`, code `{_plain(facts['revision'][:12]) or 'unknown'}`.\n"
        f"{_judge_line(facts)}"
        "- Every setting: `lab/config.yaml`; the same again: `python -m core train all --config lab/config.yaml`.\n",
        "## Limits\n\nIt generates only the classes above, at one size, and repeats what its training images show, "
        "with their faults. Compare figures only between reports of the same judge and number of images; FD-judge "
        "is not FID.\n"
        + (
            "\nThe stock scheduler tells the network σ·T cut to a whole number, less than one of "
            f"{settings.diffusion.num_train_timesteps:,} timesteps off. This lab passes the exact value, and the "
            "figures above were measured that way. Set `sampling.whole_timesteps=true` to generate what "
            "diffusers generates, to 1e-5 from the same noise.\n"
            if flow
            else ""
        ),
        f"License of the weights: {_plain(facts['licence'])}. The dataset has its own.\n",
    ]
    return "\n".join(part for part in parts if part)


def _guidance(report: Mapping[str, Any]) -> str:
    """Of a report in lab.json; one of version 0.2.0 does not name rescale and interval."""
    words = guidance_in_words(report["guidance_scale"], report.get("guidance_rescale"), report.get("guidance_interval"))
    return words + (", whole timesteps" if report.get("whole_timesteps") else "")


def _carried(latent_kl: Sequence[float]) -> str:
    if not latent_kl:
        return ""
    each = ", ".join(f"{kl:,.0f}" if kl >= 10.0 else f"{kl:.2g}" for kl in latent_kl)
    return f", which carry {each} nats per image (KL divergence from N(0, 1))"


def _judge_line(facts: Mapping[str, Any]) -> str:
    """What is said of a judge in the folder, and whether it is the one that measured."""
    weights = facts["files"].get(f"{JUDGE_FOLDER}/model.safetensors")
    if weights is None:
        return ""
    measured = (facts.get("report") or {}).get("judge_hash")
    other = "" if measured in (None, weights["sha256"]) else ", not the one that measured the figures above"
    return (
        f"- The dataset's judge lies in `{JUDGE_FOLDER}` (`{weights['sha256'][:12]}`{other}): class probabilities "
        "need no dataset.\n"
    )


def figures_of(report: Mapping[str, Any] | None, training_seed: int) -> str:
    """The section on what was measured, of a report as in lab.json."""
    if not report:
        return "## Measured\n\nNot measured: this run has no stored evaluation.\n"
    real = ""
    if report.get("real_recall") is not None:
        real = f" (held-out real images: {report['real_precision']:.3f} / {report['real_recall']:.3f})"
    spread = f" ± {report['fd_floor_sd']:.2g}" if report.get("fd_floor_sd") is not None else ""
    asked = "as often as in the training data" if report.get("labels") == "proportions" else "balanced"
    return (
        f"## Measured\n\n{report['num_samples']:,} images, classes {asked}, {report['sampler']}, "
        f"{report['num_inference_steps']} steps, {_guidance(report)}, seed {report['seed']}, "
        f"one training seed ({training_seed}).\n\n"
        "| measure | value |\n|---|---|\n"
        f"| right class for the judge | {report['class_accuracy']:.2%}, 95 % interval "
        f"{report['class_accuracy_low']:.2%} to {report['class_accuracy_high']:.2%} |\n"
        f"| FD-judge, lower is better | {report['fd_judge']:.4g}; floor of {report['fd_floor_count']:,} real held-out "
        f"images {report['fd_floor']:.4g}{spread} |\n"
        f"| precision / recall | {report['precision']:.3f} / {report['recall']:.3f}{real} |\n"
        f"{_copies(report)}"
        f"| judge | `{report['judge_hash'][:12]}`, right on {report['judge_accuracy']:.2%} of "
        f"{report['judge_heldout_count']:,} real held-out images |\n"
        f"{_second_judge(report)}"
    )


def _second_judge(report: Mapping[str, Any]) -> str:
    found = report.get("second_judge")
    if not found:
        return ""
    return (
        f"| right class for a second judge, `{found['judge_hash'][:12]}` | {found['class_accuracy']:.2%}, 95 % "
        f"interval {found['low']:.2%} to {found['high']:.2%}; right on {found['judge_accuracy']:.2%} of held-out "
        "images |\n"
    )


def _copies(report: Mapping[str, Any]) -> str:
    found = report.get("memorization")
    if not found:
        return f"| copy ratio, of held-out images 1 | {report['copy_ratio']:.2f} |\n"
    return (
        f"| nearer to a training image than 99 % of held-out images | {found['pixels']['share']:.1%} in pixels, "
        f"{found['features']['share']:.1%} in features; {found['pixels']['expected']:.1%} without copying |\n"
    )


def _plain(text: str) -> str:
    """Typed text inside Markdown: nothing in it can become a link, a picture or a table."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~$])", r"\\\1", " ".join(str(text).split()))
