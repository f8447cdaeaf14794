#!/usr/bin/env python3
"""Draws the pictures of the guide's page on traces, as SVG beside this file.

    cargo run --release --example traces -- /tmp/traces
    host/guide/pictures/draw.py /tmp/traces

Each is a window of one trace, as a viewer shows it: a row a track, spans of time, and for some batches the
line from the commander's message through the workers to the application.
"""

import json
import sys
from html import escape
from pathlib import Path

# The trace, the batch with whose message the window begins, the window's length in milliseconds, and the
# batches whose way is drawn.
PICTURES = [
    ("producers", 16, 150, [17, 18]),
    ("consumer", 20, 150, [21, 22]),
    ("commander", 10, 150, [11, 13]),
    ("straggler", 17, 290, [20, 21]),
    ("deaths", 16, 170, [18, 24]),
]
COLOURS = {
    "message": "#7b8794",
    "produce": "#2f9e6e",
    "failed attempt": "#c92a2a",
    "hold": "#3b6fd4",
    "wait": "#f2c879",
}
WIDTH, LEFT, TOP, ROW, BAR = 760, 120, 8, 26, 18


def main() -> None:
    folder = Path(sys.argv[1])
    for name, first, milliseconds, ways in PICTURES:
        events = json.loads((folder / f"{name}.json").read_text())["traceEvents"]
        Path(__file__).with_name(f"{name}.svg").write_text(picture(events, first, milliseconds * 1000, ways))


def picture(events: list, first: int, length: float, ways: list[int]) -> str:
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    begin = next(
        event["ts"]
        for event in events
        if event["name"] == "hold" and event["args"]["sequence"] == first
    )
    spans = [event for event in events if event["ph"] == "X" and begin < event["ts"] + event["dur"] and event["ts"] < begin + length]
    moments = [event for event in events if event["name"] == "death" and begin <= event["ts"] < begin + length]
    rows = {tid: row for row, tid in enumerate(sorted({event["tid"] for event in spans}))}
    scale = (WIDTH - LEFT - 8) / length

    def x(time: float) -> float:
        return LEFT + min(max(time - begin, 0), length) * scale

    def y(tid: int) -> float:
        return TOP + rows[tid] * ROW

    shapes = []
    for tid, row in rows.items():
        shapes.append(f'<text x="{LEFT - 8}" y="{y(tid) + 13:.0f}" text-anchor="end">{escape(label(names[tid]))}</text>')
        shapes.append(f'<rect x="{LEFT}" y="{y(tid):.0f}" width="{WIDTH - LEFT - 8}" height="{BAR}" fill="#f1f3f5"/>')
    for span in spans:
        left, right = x(span["ts"]), x(span["ts"] + span["dur"])
        colour = COLOURS[span["name"]]
        if span["args"].get("failed"):
            colour = COLOURS["failed attempt"]
        shapes.append(
            f'<rect x="{left:.1f}" y="{y(span["tid"]):.0f}" width="{max(right - left - 0.4, 0.8):.1f}" height="{BAR}" fill="{colour}"/>'
        )
    for moment in moments:
        at, top = x(moment["ts"]), y(moment["tid"])
        shapes.append(f'<path d="M{at - 4:.1f} {top - 4:.0f} h8 l-4 7 z" fill="#212529"/>')
    for way in ways:
        stations = [
            (x(event["ts"]), y(event["tid"]) + BAR / 2)
            for event in sorted(spans, key=lambda event: event["ts"])
            if event.get("args", {}).get("sequence") == way
        ]
        points = " ".join(f"{left + 1:.1f},{middle:.1f}" for left, middle in stations)
        shapes.append(f'<polyline points="{points}" fill="none" stroke="#212529" stroke-width="1.2"/>')
        shapes.extend(f'<circle cx="{left + 1:.1f}" cy="{middle:.1f}" r="2.4" fill="#212529"/>' for left, middle in stations)
    bottom = TOP + len(rows) * ROW
    step = 20_000 if length <= 200_000 else 50_000
    for tick in range(0, int(length) + 1, step):
        shapes.append(f'<text x="{LEFT + tick * scale:.1f}" y="{bottom + 12}" text-anchor="middle" fill="#868e96">{tick // 1000} ms</text>')
    used = [name for name in COLOURS if any(span["name"] == name for span in spans)]
    left = LEFT
    for name in used:
        shapes.append(f'<rect x="{left}" y="{bottom + 22}" width="10" height="10" fill="{COLOURS[name]}"/>')
        shapes.append(f'<text x="{left + 14}" y="{bottom + 31}" fill="#495057">{name}</text>')
        left += 40 + 7 * len(name)
    height = bottom + 40
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="11" fill="#212529">\n<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def label(name: str) -> str:
    return "application" if name.startswith("consumer") else name


if __name__ == "__main__":
    main()
