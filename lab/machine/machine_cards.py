"""The machine at a glance: the answer in a sentence, a card a device, memory and disk, and how it was lately."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import streamlit as st

from core.machine.gpus import GpuProcess
from core.machine.snapshot import Machine
from core.runs.run import Run, Status
from core.words import duration, size, used_of
from lab.frame.live_fragment import live_part
from lab.frame.problems import problems_shown
from lab.frame.state import page_file
from lab.machine.history_chart import HistoryLine, history_figure
from lab.services import machine
from lab.services.machine import DeviceCard
from lab.services.room import room_of, runs_waiting
from lab.services.runs import RunView
from lab.widgets.chart import show_chart
from lab.widgets.choice import choose
from lab.widgets.palette import palette
from lab.words import escaped, exactly, plain

BADGES = {
    "free": ":green-badge[:material/check: free]",
    "partly free": ":green-badge[:material/check: room for a run]",
    "ours": ":blue-badge[:material/play_arrow: in use]",
    "taken": ":orange-badge[:material/block: taken by others]",
    "unreadable": ":red-badge[:material/error: cannot be read]",
    "no device": ":red-badge[:material/error: not used]",
}
CARD_WIDTH = 350
TICK_S = 2.0  # cards and load together, so that they show the same look at the machine
_GPU_COLUMN = re.compile(r"^gpu(\d+)$")
SPANS = {"last hour": 3600.0, "last day": 86400.0}
_BARS = """<style>
.lab-bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: 0.4rem 0.75rem; align-items: center;
  font-size: 0.875rem; font-variant-numeric: tabular-nums; }
.lab-bars .track { display: flex; height: 8px; border-radius: 4px; overflow: hidden;
  background: color-mix(in srgb, currentColor 12%, transparent); }
.lab-bars .value { text-align: right; }
.lab-bars .name { opacity: 0.8; }
[class*="st-key-run-link-"] a { padding-inline: 0; }
</style>"""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: parts are (share of the whole, colour), left to right; value: the figures in words."""

    name: str
    parts: tuple[tuple[float, str], ...]
    value: str
    hint: str = ""


def bars(rows: Sequence[Bar]) -> None:
    """Name, bar and figures a row, in columns that line up."""
    cells = []
    for row in rows:
        parts = "".join(
            f'<span style="width:{100 * min(1.0, max(0.0, share)):.1f}%;background:{color}"></span>'
            for share, color in row.parts
        )
        told = html.escape(f"{row.name}: {row.value}. {row.hint}")
        cells.append(
            f'<span class="name">{html.escape(row.name)}</span>'
            f'<span class="track" role="img" aria-label="{told}" title="{html.escape(row.hint)}">{parts}</span>'
            f'<span class="value">{html.escape(row.value)}</span>'
        )
    st.html(f'{_BARS}<div class="lab-bars">{"".join(cells)}</div>')


def run_title(run: Run) -> str:
    """The name a person gave, or what it is; as lists of runs call it."""
    return RunView(run=run, status=Status()).title


def run_link(run: Run, where: str) -> None:
    """The run's title, leading to its page; lines up with what stands below it. where: once a run and place."""
    with st.container(key=f"run-link-{where}-{run.id}", gap=None):
        st.page_link(page_file("runs"), label=f"**{escaped(run_title(run), 50)}**", query_params={"run": run.id})


@live_part(every_s=TICK_S)
def device_cards() -> None:
    """The answer and the cards, alive."""
    with problems_shown():
        cards = machine.cards()
        st.markdown(room_of(cards, runs_waiting()).sentence)
        with st.container(horizontal=True, gap="medium"):
            for card in cards:
                with st.container(border=True, width=CARD_WIDTH, height="stretch"):
                    _card(card)


def _card(card: DeviceCard) -> None:
    badge = BADGES["partly free" if card.is_free and card.name == machine.CPU_NAME else card.verdict]
    st.markdown(f"**{card.name}** {badge}  \n:gray[:small[{escaped(card.model, 60)}]]")
    bars(_node_bars(card.gpus) if card.gpus else _device_bars(card))
    facts = [
        f"{card.temperature_c:.0f} °C" if card.temperature_c is not None else "",
        f"{card.power_w:.0f} W" if card.power_w is not None else "",
    ]
    if any(facts):
        st.caption(" · ".join(fact for fact in facts if fact))
    for entry in card.tenants:
        left = f" · about {duration(entry.expected_end_s)} left" if entry.expected_end_s is not None else ""
        with st.container(gap=None):
            run_link(entry.run, card.name)
            st.caption(f"{escaped(entry.owner or 'unknown', 40)} · {escaped(entry.state)}{left}")
    for process in card.drawings:
        st.markdown(
            f":material/draw: **images for the screens** · {_held(process)}  \n"
            f":gray[:small[pid {process.pid}; gives way to a queued run]]"
        )
    for process in card.strangers:
        st.markdown(
            f":orange[:material/person_alert:] **{escaped(process.user or 'unknown user', 40)}** · {_held(process)}  \n"
            f":gray[:small[{escaped(process.command or 'command unknown', 80)}, pid {process.pid}]]"
        )
    if card.verdict in ("taken", "unreadable", "no device"):
        st.caption(f"Not free for us: {escaped(card.why, 200)}.")


def _node_bars(gpus: tuple[int, int]) -> list[Bar]:
    """GPUs in use of a machine of a cluster; a machine without any has no bar."""
    used, total = gpus
    ink = palette(st.context.theme.type).training.line
    return [Bar(name="GPUs", parts=((used / total, ink),), value=f"{used} of {total} in use")] if total else []


def _device_bars(card: DeviceCard) -> list[Bar]:
    """How busy a device is, and who holds its memory."""
    inks = palette(st.context.theme.type)
    total = max(1, card.memory_total_bytes)
    other = max(0, card.memory_used_bytes - card.ours_bytes - card.foreign_bytes)
    used = card.utilization if card.utilization is not None else 0.0
    return [
        Bar(
            name="Computing",
            parts=((used, inks.training.line),),
            value="unknown" if card.utilization is None else f"{used:.0%}",
            hint="Share of the last moments in which it computed",
        ),
        Bar(
            name="Memory",
            parts=(
                (card.ours_bytes / total, inks.training.line),
                (card.foreign_bytes / total, inks.held_out.line),
                (other / total, inks.event.line),
            ),
            value=used_of(card.memory_used_bytes, card.memory_total_bytes),
            hint=f"our runs {size(card.ours_bytes)}, others {size(card.foreign_bytes)}, the rest {size(other)}",
        ),
    ]


def _held(process: GpuProcess) -> str:
    return size(process.memory_bytes) if process.memory_bytes is not None else "memory unknown"


@live_part(every_s=TICK_S)
def box() -> None:
    """CPU, memory and disk with its forecast, and who else works here."""
    with problems_shown():
        now, forecast = machine.machine_now(), machine.forecast()
        inks = palette(st.context.theme.type)
        memory, disk = now.memory_used_bytes / max(1, now.memory_total_bytes), now.disk
        filled = disk.used_bytes / max(1, disk.used_bytes + disk.free_bytes)
        disk_ink = inks.trouble if filled > 0.95 else inks.held_out if filled > 0.85 else inks.training
        left, right = st.columns([1, 1], gap="large")
        with left:
            bars(
                [
                    Bar(
                        name="CPU",
                        parts=((now.cpu_load, inks.training.line),),
                        value=f"{now.cpu_load:.0%} of {now.cpu_count} core{'s' if now.cpu_count > 1 else ''}",
                    ),
                    Bar(
                        name="Memory",
                        parts=((memory, inks.training.line),),
                        value=f"{size(now.memory_used_bytes)} of {size(now.memory_total_bytes)}",
                    ),
                    Bar(
                        name="Disk",
                        parts=((filled, disk_ink.line),),
                        value=f"{size(disk.free_bytes)} free of {size(disk.total_bytes)}",
                        hint=str(disk.path),
                    ),
                ]
            )
            st.caption(f"Disk: {escaped(forecast.words, 200)}", help=_full_at(forecast.full_at))
        with right:
            _others(now)


def _full_at(iso: str) -> str | None:
    return f"Full at {exactly(iso)} at the present rate" if exactly(iso) else None


def _others(now: Machine) -> None:
    """The busiest processes that are not our runs."""
    if not now.others:
        st.caption("No other busy process is seen on this machine.")
        return
    frame = pd.DataFrame(
        {
            "user": [plain(process.user, 24) for process in now.others],
            "CPU": [f"{process.cpu_share:.0%}" for process in now.others],
            "memory": [size(process.memory_bytes) for process in now.others],
            "command": [plain(process.command, 60) for process in now.others],
        }
    )
    columns = st.column_config
    st.dataframe(
        frame,
        hide_index=True,
        column_config={
            "user": columns.TextColumn("busiest others", width=105),
            "CPU": columns.TextColumn("CPU", width=60, help="Share of one core"),
            "memory": columns.TextColumn("memory", width=80),
        },
    )


@live_part(every_s=10)
def history() -> None:
    """Computing and memory of the last hour or day, a line a device."""
    with problems_shown():
        span = choose("History", list(SPANS), key="history", label_shown=False)
        seconds = SPANS[span]
        columns = machine.history(seconds)
        theme = "dark" if st.context.theme.type == "dark" else "light"
        busy, memory = history_lines(columns, theme, st.get_option(f"theme.{theme}.chartCategoricalColors"))
        if not busy:
            st.caption("No history yet: a line is written every ten seconds while this machine starts runs.")
            return
        end = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "s") + _from_utc()
        start = end - np.timedelta64(int(seconds), "s")
        for column, lines, title in zip(
            st.columns(2, gap="medium"), (busy, memory), ("Computing", "Memory in use"), strict=True
        ):
            alone = f", {lines[0].name}" if len(lines) == 1 else ""
            figure = history_figure(
                [replace(line, x=line.x + _from_utc()) for line in lines], title=title + alone, start=start, end=end
            )
            with column:
                show_chart(figure, key=f"history-{title}", with_buttons=False)


def _from_utc() -> np.timedelta64:
    """How far the clock of the person who looks is from UTC."""
    try:
        offset = datetime.now(ZoneInfo(st.context.timezone or "UTC")).utcoffset() or timedelta()
    except (ValueError, OSError):  # a browser may say anything
        offset = timedelta()
    return np.timedelta64(int(offset.total_seconds()), "s")


def history_lines(
    columns: Mapping[str, np.ndarray], theme: str | None, colors: Sequence[str]
) -> tuple[list[HistoryLine], list[HistoryLine]]:
    """(computing, memory) as shares, from the telemetry: a line a GPU in these colours, the rest in grey."""
    if not len(columns.get("time", ())):
        return [], []
    x = (columns["time"] * 1000).astype("datetime64[ms]")
    grey = palette(theme).event.text
    unknown = np.full(len(x), np.nan)

    def _line(name: str, color: str, part: str, whole: str = "") -> HistoryLine:
        y = columns.get(part, unknown)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = y / columns.get(whole, unknown) if whole else y
        return HistoryLine(name=name, color=color, x=x, y=np.where(np.isfinite(share), share, np.nan))

    numbers = sorted(int(found[1]) for name in columns if (found := _GPU_COLUMN.match(name)))
    shown = [(number, f"GPU {number}", colors[place % len(colors)]) for place, number in enumerate(numbers)]
    computing = [_line(name, color, f"gpu{number}") for number, name, color in shown]
    memory = [_line(name, color, f"gpu{number}_memory", f"gpu{number}_memory_total") for number, name, color in shown]
    computing.append(_line("CPU", grey, "cpu"))
    memory.append(_line("RAM", grey, "memory", "memory_total"))
    return computing, memory
