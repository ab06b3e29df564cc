"""The drawing of an agent's flows."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

from pipeline.agent import load_agent
from pipeline.workflow.definition import END
from pipeline.workflow.graph import draw, edges

AGENT = load_agent(Path(__file__).parents[3] / "configs" / "agents" / "dental.yaml")
SVG = "{http://www.w3.org/2000/svg}"


def test_every_node_and_every_way_is_drawn_once() -> None:
    root = ElementTree.fromstring(draw(AGENT.flows, title=AGENT.name))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert texts[0] == "Bright Dental"
    for name, flow in AGENT.flows.items():
        assert name in texts
        for node_name, node in flow.nodes.items():
            assert f"{node_name} · {node.do}" in texts
    ways = {
        (name, at, to) for name, flow in AGENT.flows.items() for at, node in flow.nodes.items() for to, _ in edges(node)
    }
    assert len([path for path in root.iter(f"{SVG}path") if path.get("class") == "edge"]) == len(ways)
    assert texts.count(END) == len({name for name, _, to in ways if to == END})


def test_no_box_covers_another_and_all_are_inside() -> None:
    root = ElementTree.fromstring(draw(AGENT.flows))
    boxes = [
        [float(box.attrib[key]) for key in ("x", "y", "width", "height")]
        for box in root.iter(f"{SVG}rect")
        if "x" in box.attrib
    ]
    for (x1, y1, w1, h1), (x2, y2, w2, h2) in combinations(boxes, 2):
        assert x1 + w1 <= x2 or x2 + w2 <= x1 or y1 + h1 <= y2 or y2 + h2 <= y1
    assert max(x + width for x, _, width, _ in boxes) <= float(root.attrib["width"])
    assert max(y + height for _, y, _, height in boxes) <= float(root.attrib["height"])


def test_the_same_flows_give_the_same_drawing() -> None:
    assert draw(AGENT.flows) == draw(AGENT.flows)


def test_a_free_node_is_drawn_with_its_goal_and_its_named_ways() -> None:
    office = load_agent(Path(__file__).parents[3] / "configs" / "agents" / "front_office.yaml")
    ways = [label for _, label in edges(office.flows["help"].nodes["sort_out"])]
    assert ways == ["done", "nothing_for_us", "exhausted", "failed"]
    drawn = draw(office.flows)
    assert "sort_out · talk" in drawn
    assert "Find out which repair" in drawn
