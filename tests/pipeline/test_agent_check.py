"""What `trunkline agent validate` finds: one flaw at a time in an agent that has none."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from models.settings import SettingsError, parse_mapping
from pipeline.agent import Agent, agent_of
from pipeline.agent_check import check_agent
from pipeline.agent_diff import differences
from pipeline.agent_version import agent_version
from serve.agent_file import load_agent_file

ROOT = Path(__file__).resolve().parents[2]
SHOP = (ROOT / "docs" / "examples" / "shop.yaml").read_text(encoding="utf-8")


def shop(*changes: tuple[str, str]) -> Agent:
    text = SHOP
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return agent_of(parse_mapping(text, "shop.yaml"), Path("shop.yaml"))


def found(*changes: tuple[str, str]) -> list[str]:
    return [f"{finding.severity} {finding.where}: {finding.what}" for finding in check_agent(shop(*changes))]


@pytest.mark.parametrize(
    "path", ["configs/agents/dental.yaml", "configs/agents/logistics.yaml", "configs/agents/front_office.yaml"]
)
def test_the_agents_that_come_with_it_have_no_errors(path: str) -> None:
    assert not [finding for finding in check_agent(load_agent_file(ROOT / path)) if finding.severity == "error"]


def test_an_agent_without_flaws_has_no_findings() -> None:
    assert found() == []


AWAY = """escalation:
  targets: {desk: {number: "+15550199"}}
  default: desk
  line: One moment.
  away: {when: {unknown: number}, flow: nobody}
"""
CLEAR = "clear: {do: set, forget: [number, state, arrives], go: end}"


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ((CLEAR, f'{CLEAR}\n      lone: {{do: say, say: "Hm.", go: end}}'), "error flows.order.nodes.lone: cannot be"),
        (
            (CLEAR, f'{CLEAR[:-4]}a}}\n      a: {{do: say, say: "A", go: b}}\n      b: {{do: say, say: "B", go: a}}'),
            "error flows.order.nodes.which: a dead end",
        ),
        (("failed: down", "failed: look"), "error flows.order.nodes.look.failed: leads back to the same call"),
        (("failed: down", "failed: clear"), "error flows.order.nodes.look.failed: the flow ends without a word"),
        (
            ("order {number}. Any", "order {number:Text}. Any"),
            "error flows.order.nodes.unknown: {number:Text}: no form",
        ),
        (("order {number}. Any", "order {numbr}. Any"), "error flows.order.nodes.unknown: {numbr} names nothing"),
        (("variable: number", "variable: nummer"), "error flows.order.nodes.which.variable: no variable 'nummer'"),
        (("tool: find_order", "tool: find_ordr"), "error flows.order.nodes.look.tool: no tool 'find_ordr'"),
        (('{number: "{number}"}', "{}"), "error flows.order.nodes.look.arguments: find_order needs 'number'"),
        (("arrives: arrives}\n        go", "arrives: when}\n        go"), "error flows.order.nodes.look.save.arrives"),
        (
            ("start: which", "start: look"),
            "warning flows.order.nodes.look.arguments.number: needs {number}, which is not",
        ),
        (
            ("- When does my parcel arrive?", "- Are you open today?"),
            "error routes.order.examples: 'are you open today' is",
        ),
        (("- What are your hours?", "- When are you open?"), "warning facts.hours.questions: says the same as"),
        (
            ("persona: You are", f"persona: {'You know everything. ' * 40}You are"),
            "error context: persona and policies take",
        ),
        (("    flow: order\n", "    flow: order\n    target: boss\n"), "error routes.order.target: no target 'boss'"),
        (("\nfacts:\n", f"\n{AWAY}facts:\n"), "error escalation.away.flow: no flow 'nobody'"),
    ],
)
def test_a_flaw_is_found_and_named(change: tuple[str, str], finding: str) -> None:
    assert any(one.startswith(finding) for one in found(change)), found(change)


HOURS = """hours:
  zone: Europe/Madrid
  monday-friday: 9:00-18:00
"""
DAYS = """variables:
  day: {type: date}
  hour: {type: time}
"""


def guarded(when: str, hours: str = HOURS) -> list[str]:
    """What is found of an edge with this condition."""
    decide = f"which_way: {{do: decide, edges: [{{when: {when}, go: which}}], otherwise: which}}\n      which:"
    changes = (("\nfacts:\n", f"\n{hours}facts:\n"), ("variables:\n", DAYS), ("start: which", "start: which_way"))
    return [one for one in found(*changes, ("which:", decide)) if "which_way" in one]


@pytest.mark.parametrize(
    ("when", "finding"),
    [
        ('{open: "{dya} {hour}"}', "no variable 'dya'"),
        ('{open: "{number} {hour}"}', "open: expected a date, a time, or one of each; got digits and time"),
        ('{open: "{day} {day}"}', "open: expected a date, a time, or one of each; got date and date"),
        ("{weekday: {hour: monday}}", "weekday.hour: is of type time; expected a date"),
        ("{at_most: {day: 8}}", "at_most.day: 8.0 cannot be compared with a variable of type date"),
        ("{none_of: [{at_least: {hour: noon}}]}", "at_least.hour: expected a time such as 14:30, got 'noon'"),
        ("{between: {day: [today, tomorrow]}}", "between.day: 'tomorrow' is no date"),
    ],
)
def test_a_condition_that_does_not_fit_its_variables_is_found(when: str, finding: str) -> None:
    where = "error flows.order.nodes.which_way.edges"
    assert any(one.startswith(where) and finding in one for one in guarded(when)), guarded(when)


@pytest.mark.parametrize(
    "when",
    ['{open: "{day} {hour}"}', "{open: now}", "{weekday: {day: [monday, friday]}}", "{at_least: {day: today+1}}"],
)
def test_a_condition_that_fits_is_left_alone(when: str) -> None:
    assert guarded(when) == []


def test_hours_that_say_nothing_of_christmas_are_found() -> None:
    findings = found(("\nfacts:\n", f"\n{HOURS}facts:\n"))
    assert [one.split(":")[1] for one in findings] == [" says nothing of christmas", " says nothing of new_year"]
    closed = f"{HOURS}  exceptions: {{12-25: closed, new_year: 12:00-15:00}}\n"
    assert found(("\nfacts:\n", f"\n{closed}facts:\n")) == []


def test_when_it_opens_next_can_be_said_by_who_has_hours() -> None:
    says = ('Anything else?", go: clear}', 'We open {next_opening}.", go: clear}')
    assert any("{next_opening} names nothing" in one for one in found(says))
    assert not any("next_opening" in one for one in found(says, ("\nfacts:\n", f"\n{HOURS}facts:\n")))


def test_a_condition_on_hours_that_nobody_gave_is_found() -> None:
    finding = "error flows.order.nodes.which_way.edges.open: nobody knows when it is open"
    assert any(one.startswith(finding) for one in guarded("{open: now}", "hours: {zone: Europe/Madrid}\n"))


def test_so_is_one_of_who_is_there() -> None:
    away = AWAY.replace("{unknown: number}", "{none_of: [{open: now}]}")
    findings = found(("\nfacts:\n", f"\n{away}facts:\n"))
    assert any(one.startswith("error escalation.away.when.open: nobody knows") for one in findings)


WRITE = """
  cancel_order:
    description: Cancel an order.
    effect: write
    confirm: true
    arguments: {number: {}}
    http: {method: DELETE, url: "orders/{number}", auth: shop}
    filler: One moment.
# --- end of the tool ---"""


def test_a_write_that_wants_a_confirmation_must_have_one_on_every_way() -> None:
    change = ("# --- end of the tool ---", WRITE.strip("\n"))
    flow = (
        'tool: find_order\n        arguments: {number: "{number}"}\n        save: {state: state, arrives: arrives}',
        'tool: cancel_order\n        arguments: {number: "{number}"}',
    )
    findings = found(change, flow)
    assert any(
        one.startswith("error flows.order.nodes.look: a way leads here past every `confirm`") for one in findings
    )
    assert any(one.startswith("warning tools.cancel_order: its system takes no idempotency key") for one in findings)


def test_versions_are_named_by_content_and_differences_are_said_by_path() -> None:
    one, same, other = shop(), shop(("# A shop", "# Some shop")), shop(("nine to six", "ten to six"))
    assert agent_version(one) == agent_version(same) != agent_version(other)
    assert differences(one, same) == []
    assert differences(one, other) == [
        "~ facts.hours.text: We are open every day from nine to six. -> We are open every day from ten to six."
    ]
    added = yaml.safe_load(SHOP)
    added["routes"][0]["examples"].append("Are you open on Sunday?")
    del added["tools"]["find_order"]["filler"]
    changed = agent_of(added, Path("x"))
    assert set(differences(one, changed)) == {
        "+ routes.question.examples: Are you open on Sunday?",
        "- tools.find_order.filler: Let me look.",
    }


LONG = "We deliver to every house of the old town within two working days, and to the islands on Tuesdays and Fridays"


@pytest.mark.parametrize(("key", "path"), [('fallback: ["{}"]', "lines.fallback"), ("apology: {}", "lines.apology")])
def test_of_a_long_text_each_part_that_is_another_is_shown_with_words_around_it(key: str, path: str) -> None:
    text = SHOP.replace("\nfacts:\n", f"\nlines:\n  {key.format(LONG)}\nfacts:\n", 1)
    before, after = [
        agent_of(parse_mapping(one, "shop.yaml"), Path("shop.yaml"))
        for one in (text, text.replace("We deliver", "We bring it").replace("Tuesdays", "Mondays"))
    ]
    assert differences(before, after) == [
        f"~ {path}: We deliver to every house … -> We bring it to every house …",
        f"~ {path}: … the islands on Tuesdays and Fridays -> … the islands on Mondays and Fridays",
    ]


def test_of_entries_without_names_the_place_is_shown() -> None:
    edges = "edges: [{when: {known: state}, go: end}, {when: {known: arrives}, go: end}]"
    text = SHOP.replace(CLEAR, f"clear: {{do: decide, {edges}, otherwise: end}}")
    before, after = [
        agent_of(parse_mapping(one, "shop.yaml"), Path("shop.yaml"))
        for one in (text, text.replace("arrives}, go: end", "arrives}, go: down"))
    ]
    assert differences(before, after) == ["~ flows.order.nodes.clear.edges[1].go: end -> down"]


def test_what_can_only_be_said_anew_in_whole_is_not_asked_to_be_changed() -> None:
    confirm = """right:
        do: confirm
        say: ["Is it {state}?"]
        variables: [state]
        change: What should I change?
        on_yes: clear
        on_no: clear
        exhausted: clear
      """
    findings = found((CLEAR, f"{confirm}{CLEAR}"))
    assert any(one.startswith("warning flows.order.nodes.right.change: nothing of this can be") for one in findings)


OFFICE = (ROOT / "configs" / "agents" / "front_office.yaml").read_text(encoding="utf-8")
TALK = "flows.help.nodes.sort_out"


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (("          ticket: What", "          tiket: What"), f"error {TALK}.fill: no variable 'tiket'"),
        (("          find_repair: {", "          find_repairs: {"), f"error {TALK}.tools.find_repairs: no tool"),
        (
            ("            read_back: So you'll pick up the bike with ticket {ticket} on {day}. Is that right?\n", ""),
            f"error {TALK}.tools.book_pick_up.read_back: is missing: a write needs the caller's yes",
        ),
        (
            ("with ticket {ticket} on {day}. Is", "on {day}. Is"),
            f"error {TALK}.tools.book_pick_up.read_back: does not say {{ticket}}",
        ),
        (
            ("find_repair: {rejected", 'find_repair: {read_back: "Shall I?", rejected'),
            f"warning {TALK}.tools.find_repair.read_back: is never asked",
        ),
        (('{phone: "{caller}"}', "{fax: none}"), f"error {TALK}.tools.book_pick_up.arguments.fax: book_pick_up has"),
        (('{phone: "{caller}"}', '{phone: "{calr}"}'), f"error {TALK}.tools.book_pick_up.arguments.phone: {{calr}}"),
        (
            ("phone: {required: false}", "phone: {}, shop: {}"),
            f"error {TALK}.tools.book_pick_up: book_pick_up needs 'shop'",
        ),
        (("tools: 6", "tools: 0"), f"error {TALK}.limits.tools: 0, so that find_repair is never called"),
        (("failed: call_back", "failed: forget"), f"error {TALK}.failed: the flow ends without a word"),
        (("failed: call_back", "failed: sort_out"), f"error {TALK}: `failed` or `exhausted` leads back"),
    ],
)
def test_flaws_of_a_free_node_are_found(change: tuple[str, str], finding: str) -> None:
    assert change[0] in OFFICE
    agent = agent_of(parse_mapping(OFFICE.replace(*change), "front_office.yaml"), Path("front_office.yaml"))
    assert any(f"{one.severity} {one.where}: {one.what}".startswith(finding) for one in check_agent(agent))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("turns: 10", "turns: 0"), "greater than or equal to 1"),
        (("ways: {done: anything_else, nothing_for_us: declined}", "ways: {}"), "at least 1 item"),
        (("done: anything_else", "done: nowhere"), "leads to 'nowhere'"),
        (("\notherwise: help", "\notherwise: nothing"), "otherwise: no flow 'nothing'"),
    ],
)
def test_a_free_node_without_a_way_out_or_an_end_is_refused(change: tuple[str, str], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        agent_of(parse_mapping(OFFICE.replace(*change), "front_office.yaml"), Path("front_office.yaml"))
