"""An agent's flows as one SVG: a layered drawing of each, top to bottom.

The layout is the usual three steps of Sugiyama et al. 1981 (layers along the longest way, order by barycentres, then
places) on graphs of some twenty nodes; the libraries that do it in pure Python are either unmaintained (grandalf) or
bring a renderer of their own, and graphviz is a system package.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from types import MappingProxyType

from pipeline.hours import WEEKDAYS
from pipeline.workflow.definition import (
    END,
    AnyNode,
    AskNode,
    CallNode,
    ConfirmNode,
    DecideNode,
    Flow,
    FlowNode,
    FormNode,
    Guard,
    HangUpNode,
    SayNode,
    SetNode,
    TalkNode,
    TransferNode,
    targets,
)

_CHAR, _BOLD, _LINE, _PAD = 6.4, 7.0, 15.0, 8.0
_GAP_X, _GAP_Y, _MARGIN = 26.0, 46.0, 24.0
_MOST_CHARS, _MOST_LINES = 30, 3
_SWEEPS = 8

_COLOURS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "say": ("#eef4ff", "#5b7fc7"),
        "ask": ("#fff7df", "#c79a2b"),
        "confirm": ("#fff0d5", "#c77b2b"),
        "decide": ("#f3f0fb", "#8a75c9"),
        "call": ("#e7f7ec", "#3f9a5f"),
        "talk": ("#fdf0fb", "#b05aa5"),
        "set": ("#f4f4f4", "#9a9a9a"),
        "flow": ("#eaf6f8", "#3a8fa3"),
        "transfer": ("#fdeaea", "#c25050"),
        "hang_up": ("#fdeaea", "#c25050"),
        END: ("#ffffff", "#555555"),
    }
)


@dataclass(slots=True)
class _Box:
    name: str
    kind: str
    lines: tuple[str, ...]
    width: float
    height: float
    layer: int = 0
    x: float = 0.0
    y: float = 0.0


def draw(flows: Mapping[str, Flow], *, title: str = "") -> str:
    """The drawing. Deterministic: the same flows give the same text."""
    parts: list[str] = []
    y, width = _MARGIN + (30 if title else 0), 0.0
    for name, flow in flows.items():
        drawn, flow_width, flow_height = _draw_flow(name, flow, y)
        parts += drawn
        width, y = max(width, flow_width), y + flow_height + _MARGIN
    head = f'<text x="{_MARGIN}" y="{_MARGIN + 8}" class="title">{escape(title)}</text>' if title else ""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + 2 * _MARGIN:.0f}" height="{y:.0f}" '
            f'viewBox="0 0 {width + 2 * _MARGIN:.0f} {y:.0f}" font-family="Arial, sans-serif" font-size="11">',
            "<style>.title{font-size:18px;font-weight:bold}.flow{font-size:14px;font-weight:bold}.name{font-weight:bold}"
            ".edge{fill:none;stroke:#777;stroke-width:1.1}"
            ".label{fill:#555;font-size:10px;paint-order:stroke;stroke:#fff;stroke-width:3px}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0,0 L8,4 L0,8 z" fill="#777"/></marker></defs>',
            '<rect width="100%" height="100%" fill="#fff"/>',
            head,
            *parts,
            "</svg>\n",
        ]
    )


def edges(node: AnyNode) -> tuple[tuple[str, str], ...]:
    """(target, label) of each way on."""
    match node:
        case SayNode() | SetNode() | FlowNode():
            return ((node.go, ""),)
        case AskNode():
            return ((node.go, ""), (node.exhausted, "exhausted"))
        case DecideNode():
            return (*((edge.go, condition(edge.when)) for edge in node.edges), (node.otherwise, "else"))
        case CallNode():
            return ((node.go, "ok"), *((to, code) for code, to in node.rejected.items()), (node.failed, "failed"))
        case ConfirmNode():
            return ((node.on_yes, "yes"), (node.on_no, "no"), (node.exhausted, "exhausted"))
        case FormNode():
            return tuple((to, "") for to in targets(node))
        case TalkNode():
            ways = tuple((to, way) for way, to in node.ways.items())
            return (*ways, (node.exhausted, "exhausted"), (node.failed, "failed"))
        case TransferNode() | HangUpNode():
            return ()


def condition(guard: Guard) -> str:
    """A guard in a few words."""
    parts = [f"{name} = {value}" for name, value in guard.equals.items()]
    parts += [f"{name} >= {bound}" for name, bound in guard.at_least.items()]
    parts += [f"{name} <= {bound}" for name, bound in guard.at_most.items()]
    parts += [f"{name} {least} to {most}" for name, (least, most) in guard.between.items()]
    parts += [f"{name} on {', '.join(WEEKDAYS[day] for day in days)}" for name, days in guard.weekdays().items()]
    if guard.open is not None:
        parts.append(f"open {' '.join(guard.moment()) or guard.open}")
    if guard.known:
        parts.append(f"{guard.known} known")
    if guard.unknown:
        parts.append(f"{guard.unknown} unknown")
    if guard.level is not None:
        parts.append(f"level {guard.level}")
    if guard.any_of:
        parts.append(" or ".join(condition(one) for one in guard.any_of))
    parts += [f"not ({condition(one)})" for one in guard.none_of]
    return ", ".join(parts)


def _text(node: AnyNode) -> str:
    match node:
        case SayNode() | HangUpNode():
            return node.say
        case AskNode():
            return f"{node.variable}? {node.say[0]}"
        case ConfirmNode():
            return node.say[0]
        case FormNode():
            return ", ".join(node.fields)
        case TalkNode():
            return node.goal
        case CallNode():
            return f"{node.tool}({', '.join(node.arguments)})"
        case SetNode():
            made = [f"{name} = {value}" for name, value in node.values.items()]
            return "; ".join([*made, *([f"forget {', '.join(node.forget)}"] if node.forget else [])])
        case FlowNode():
            return node.flow
        case TransferNode():
            return f"to {node.target} ({node.reason.replace('_', ' ')})"
        case DecideNode():
            return ""


def _draw_flow(name: str, flow: Flow, top: float) -> tuple[list[str], float, float]:
    boxes = {node_name: _box(node_name, node.do, _text(node)) for node_name, node in flow.nodes.items()}
    ways = [(at, to, label) for at, node in flow.nodes.items() for to, label in edges(node)]
    if any(to == END for _, to, _ in ways):
        boxes[END] = _box(END, END, "")
    _layer(flow, boxes, ways)
    rows = _ordered(boxes, ways)
    width = max(sum(box.width for box in row) + _GAP_X * (len(row) - 1) for row in rows)
    y = top + 30
    for row in rows:
        x = _MARGIN + (width - sum(box.width for box in row) - _GAP_X * (len(row) - 1)) / 2
        for box in row:
            box.x, box.y = x, y
            x += box.width + _GAP_X
        y += max(box.height for box in row) + _GAP_Y
    parts = [f'<text x="{_MARGIN}" y="{top + 14:.0f}" class="flow">{escape(name)}</text>']
    labels: dict[tuple[str, str], list[str]] = defaultdict(list)
    for at, to, label in ways:
        labels[at, to].append(label)
    written: list[str] = []
    for (at, to), found in labels.items():
        path, text = _edge(boxes[at], boxes[to], ", ".join(label for label in found if label))
        parts.append(path)
        written += text
    parts += [part for box in boxes.values() for part in _drawn(box)]
    parts += written
    return parts, width, y - top - _GAP_Y + 10


def _box(name: str, kind: str, text: str) -> _Box:
    lines = _wrapped(text)
    widest = max([len(f"{name} · {kind}") * _BOLD, *(len(line) * _CHAR for line in lines)])
    return _Box(name, kind, lines, widest + 2 * _PAD, (1 + len(lines)) * _LINE + _PAD)


def _wrapped(text: str) -> tuple[str, ...]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > _MOST_CHARS:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    lines += [line] if line else []
    return (*lines[: _MOST_LINES - 1], f"{lines[_MOST_LINES - 1]} …") if len(lines) > _MOST_LINES else tuple(lines)


def _layer(flow: Flow, boxes: Mapping[str, _Box], ways: Sequence[tuple[str, str, str]]) -> None:
    """Each box below all that lead to it, ways back left out."""
    after: dict[str, list[str]] = defaultdict(list)
    for at, to, _ in ways:
        after[at].append(to)
    forward: list[tuple[str, str]] = []
    state: dict[str, int] = {}

    def visit(at: str) -> None:
        state[at] = 1
        for to in after[at]:
            if state.get(to) != 1:
                forward.append((at, to))
                if to not in state:
                    visit(to)
        state[at] = 2

    for name in (flow.start, *boxes):
        if name not in state:
            visit(name)
    for _ in boxes:
        for at, to in forward:
            boxes[to].layer = max(boxes[to].layer, boxes[at].layer + 1)


def _ordered(boxes: Mapping[str, _Box], ways: Sequence[tuple[str, str, str]]) -> list[list[_Box]]:
    rows: dict[int, list[_Box]] = defaultdict(list)
    for box in boxes.values():
        rows[box.layer].append(box)
    layers = [rows[layer] for layer in sorted(rows)]
    neighbours: dict[str, set[str]] = defaultdict(set)
    for at, to, _ in ways:
        neighbours[at].add(to)
        neighbours[to].add(at)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for fixed, moved in pairwise(layers if down else layers[::-1]):
            place = {box.name: (index + 0.5) / len(fixed) for index, box in enumerate(fixed)}
            own = {box.name: (index + 0.5) / len(moved) for index, box in enumerate(moved)}

            def centre(box: _Box, place: Mapping[str, float] = place, own: Mapping[str, float] = own) -> float:
                near = [place[name] for name in neighbours[box.name] if name in place]
                return sum(near) / len(near) if near else own[box.name]

            moved.sort(key=centre)
    return layers


def _edge(start: _Box, end: _Box, label: str) -> tuple[str, list[str]]:
    """The line, and its label, which goes on top of everything."""
    x1, x2 = start.x + start.width / 2, end.x + end.width / 2
    if end.y > start.y:
        y1, y2 = start.y + start.height, end.y
        bend = max(20.0, (y2 - y1) / 2)
        path = f"M{x1:.1f},{y1:.1f} C{x1:.1f},{y1 + bend:.1f} {x2:.1f},{y2 - bend:.1f} {x2:.1f},{y2:.1f}"
        at_x, at_y = x1 + (x2 - x1) * 0.3, y1 + (y2 - y1) * 0.35
    else:
        # A way back, around the right side.
        x1, y1 = start.x + start.width, start.y + start.height / 2
        x2, y2 = end.x + end.width, end.y + end.height / 2
        side = max(x1, x2) + 22
        path = f"M{x1:.1f},{y1:.1f} C{side:.1f},{y1:.1f} {side:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"
        at_x, at_y = side - 8, (y1 + y2) / 2
    text = f'<text class="label" x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="middle">{escape(label)}</text>'
    return f'<path class="edge" d="{path}" marker-end="url(#tip)"/>', [text] if label else []


def _drawn(box: _Box) -> list[str]:
    fill, stroke = _COLOURS[box.kind]
    radius = 14 if box.kind in (END, "hang_up", "transfer") else 4
    x = box.x + _PAD
    heading = box.name if box.kind == END else f"{box.name} · {box.kind}"
    return [
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="{radius}" '
        f'fill="{fill}" stroke="{stroke}"/>',
        f'<text class="name" x="{x:.1f}" y="{box.y + _LINE:.1f}">{escape(heading)}</text>',
        *(
            f'<text x="{x:.1f}" y="{box.y + (number + 2) * _LINE:.1f}">{escape(line)}</text>'
            for number, line in enumerate(box.lines)
        ),
    ]
