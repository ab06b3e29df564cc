"""Mistakes that people make in agent files, one at a time in an agent without any: `agent validate` names each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serve.cli import app

SEEDED = Path(__file__).with_name("seeded")
RENTAL = (SEEDED / "rental.yaml").read_text(encoding="utf-8")
BOOK = "flows.rent.nodes"

UNLEFT = """      clear: {do: set, forget: [kind, day, riders, helmets, name, free, booking], go: again}
      again: {do: ask, variable: kind, say: ["And which kind?"], go: clear, exhausted: clear}
"""
CLEAR = "      clear: {do: set, forget: [kind, day, riders, helmets, name, free, booking], go: end}\n"
SECOND_FLOW = '  idle:\n    start: hm\n    nodes: {hm: {do: say, say: "Hm.", go: end}}\n'

MISTAKES: dict[str, tuple[str, str, str]] = {
    # What is wrong: (text, what stands there instead, what is said).
    "routes twice": (
        "\nfacts:\n",
        "\nroutes: []\nfacts:\n",
        "error rental.yaml: routes: this key stands twice, in lines",
    ),
    "a node twice": (CLEAR, f"{CLEAR}{CLEAR}", f"error rental.yaml: {BOOK}.clear: this key stands twice, in lines"),
    "a misspelt key": (
        "exhausted: no_helmets",
        "exausted: no_helmets",
        f"{BOOK}.helmets.exausted: unknown key; did you",
    ),
    "a misspelt kind of node": ("do: decide", "do: decice", f"{BOOK}.is_free.do: no such kind: 'decice'; did you mean"),
    "a number for a text": ("name: Harbour Bikes", "name: 12", "name: Input should be a valid string; got 12 (int)"),
    "an unquoted yes": ('"I want a human"', "Yes", "routes[2].examples[1]: Input should be a valid string; got True"),
    "an unquoted no": ('values: {helmets: "no"}', "values: {helmets: no}", "put it in quotes"),
    "an unquoted key": ("{city: [a", "{yes: [of course], city: [a", "variables.kind.choices.yes: line 33: YAML takes"),
    "wrong indentation": ("    start: kind", "   start: kind", "error rental.yaml: not valid YAML: line"),
    "too few examples": (
        '"Can I book two mountain bikes for Friday?", ',
        "",
        "error rental.yaml: routes[1].examples: Tuple should have at least 3",
    ),
    "an example without words": ('"I want a human"', '"..."', "error routes.person.examples: '...' has no words"),
    "an example in two routes": (
        '["Bye",',
        '["Bye", "i want a human",',
        "error routes.goodbye.examples: 'i want a human' is an example of",
    ),
    "a voice that is not there": (
        "af_heart",
        "af_hart",
        "error voice: kokoro-82m-int8 has no voice 'af_hart'; did you",
    ),
    "a time zone that is not there": (
        "Europe/Lisbon",
        "Europe/Porto",
        "no such time zone: 'Europe/Porto'; expected an IANA",
    ),
    "a day that is none": (
        "monday-sunday: 8",
        "mondy-sunday: 8",
        "hours: 'mondy-sunday' names no day of the week; expected",
    ),
    "hours that are none": ("8:00-19:00", "from 8 to 7", "hours.monday-sunday: "),
    "no word on the holidays": (
        ", exceptions: {christmas: closed, new_year: closed}",
        "",
        "warning hours.exceptions: says",
    ),
    "another language's file is missing": ("rental_es.yaml", "rental_sp.yaml", "error also_in.es: no file"),
    "another language's file is not in it": (
        "{es: rental_es.yaml}",
        "{es: english.yaml}",
        "error also_in.es: english.yaml",
    ),
    "a fact's id twice": ("id: deposit", "id: hours", "facts: ids must differ: hours, hours"),
    "choices that collide": ("tandem: [a tandem]", "tandem: [a city bike]", "would mean 'city' and 'tandem'"),
    "a pattern that is none": ("'[1-9]'", "'[1-9'", "variables.riders.pattern: expected a regular expression"),
    "a keypad line without keys": ('keys: {"1": "When are you open?"}\n', "", "lines.keypad and keys belong together"),
    "no farewell": ("kind: farewell", "kind: cancel", "warning routes: none is of kind 'farewell'"),
    "no greeting": (
        "\nfacts:\n",
        "\ncommon: {without: [greeting]}\nfacts:\n",
        "warning routes: none has an example such as 'Hello'",
    ),
    "no thanks": (
        "\nfacts:\n",
        "\ncommon: {without: [thanks]}\nfacts:\n",
        "warning routes: none has an example such as 'Thank you'",
    ),
    "no yes": (
        "\nfacts:\n",
        "\ncommon: {without: [anything_else]}\nfacts:\n",
        "warning routes: none has an example such as 'Yes'",
    ),
    "a flow that circles": (CLEAR, UNLEFT, f"error {BOOK}.clear: a dead end"),
    "a node that is not reached": (
        CLEAR,
        f'{CLEAR}      hm: {{do: say, say: "Hm", go: end}}\n',
        f"error {BOOK}.hm: cannot",
    ),
    "a node that is not there": ("go: is_free", "go: is_fre", "no such node: nodes.look: leads to 'is_fre'"),
    "a flow that is not begun": ("flows:\n", f"flows:\n{SECOND_FLOW}", "warning flows.idle: is never begun"),
    "a flow that is not there": ("flow: rent\n", "flow: rnt\n", "routes: rent: no flow 'rnt'; expected one of rent"),
    "an unknown variable is asked for": (
        "ask, variable: riders",
        "ask, variable: rider",
        f"{BOOK}.riders.variable: no vari",
    ),
    "an unknown placeholder": ("number {booking}", "number {boking}", f"error {BOOK}.done: {{boking}} names nothing"),
    "a placeholder that is not known there": (
        "we have none left",
        "{name}, we have none left",
        "which is not known on every",
    ),
    "a condition that never holds": (
        'free: "yes"',
        'free: "true"',
        f"error {BOOK}.is_free.edges[0].when.equals.free: 'true'",
    ),
    "a choice that is none": (
        '{free: "yes"}',
        '{kind: "bmx"}',
        "'bmx' can never hold: 'kind' is one of city, mountain",
    ),
    "a value that does not fit": (
        '{helmets: "no"}',
        '{helmets: "none"}',
        f"error {BOOK}.no_helmets.values.helmets: 'none'",
    ),
    "a tool that is not there": ("tool: find_free", "tool: find_fre", f"error {BOOK}.look.tool: no tool 'find_fre'"),
    "an argument is missing": (
        'name: "{name}", helmets: "{helmets}"}\n        save',
        'helmets: "{helmets}"}\n        save',
        f"error {BOOK}.rent.arguments: rent needs 'name'; give it",
    ),
    "an argument is unknown": (
        'riders: "{riders}"}\n        save',
        'people: "4"}\n        save',
        ".look.arguments.people:",
    ),
    "an argument of another type": (
        'day: "{day}", riders: "{riders}"}\n        s',
        'day: "{riders}", riders: "{day}"}\n        s',
        f"error {BOOK}.look.arguments.riders: {{day}}, such as '2026-03-14', does not fit",
    ),
    "an argument that is none of those allowed": (
        '{kind: "{kind}", day: "{day}", riders: "{riders}"}\n        s',
        '{kind: "bmx", day: "{day}", riders: "{riders}"}\n        s',
        "arguments.kind: 'bmx' does",
    ),
    "what a tool does not return": (
        "save: {free: free}",
        "save: {free: vacant}",
        f"error {BOOK}.look.save.free: find_free",
    ),
    "a rejection that never comes": (
        "rejected: {conflict",
        "rejected: {full",
        f"error {BOOK}.rent.rejected.full: rent never",
    ),
    "a variable that is never asked for": (
        "  booking: {type: text}",
        "  booking: {type: text}\n  size: {type: text}",
        "warning variables.size: is never used",
    ),
    "a confirm of what is never known": (
        "variables: [kind,",
        "variables: [helmet_size, kind,",
        f"error {BOOK}.right: no vari",
    ),
    "a write without a read-back": (
        "go: right,",
        "go: rent,",
        f"error {BOOK}.rent: a way leads here past every `confirm`",
    ),
    "an unknown target": (
        "target: desk",
        "target: boss",
        f"error {BOOK}.through.target: no target 'boss'; expected one of",
    ),
    "an unknown connection": (
        "auth: shed}\n",
        "auth: sheds}\n",
        "error tools.find_free.http.auth: no HTTP connection is",
    ),
    "a tool that is never called": (
        "tools:\n",
        "tools:\n  idle: {description: x, effect: read, http: {url: x, auth: shed}}\n",
        "warning tools.idle: is never called",
    ),
    "no https": (
        "https://shed",
        "http://shed",
        "error connections.shed.base_url: 'http://shed.harbour.example/v1': expected",
    ),
    "a URL without its scheme": (
        "https://shed",
        "shed",
        "error connections.shed.base_url: String should match pattern",
    ),
    "a secret in the file": (
        "{env: SHED_TOKEN}",
        "s3cr3t-t0k3n",
        "connections.shed.auth.token: a secret is never written",
    ),
    "a secret in a header": (
        "{url: free,",
        "{url: free, headers: {X-Api-Key: s3cr3t-t0k3n},",
        "looks like a secret written",
    ),
    "two ways to prove": (
        "auth: {kind: bearer,",
        "auth: {kind: beaer,",
        "connections.shed.auth.kind: no such kind: 'beaer'",
    ),
}


def found(text: str, folder: Path) -> str:
    """What `validate` says of it, a line for each finding."""
    shutil.copy(SEEDED / "rental_es.yaml", folder)
    (folder / "english.yaml").write_text(RENTAL.replace("also_in: {es: rental_es.yaml}\n", ""), encoding="utf-8")
    file = folder / "rental.yaml"
    file.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(app, ["agent", "validate", "--json", "--no-play", str(file)])
    if not result.output.startswith("["):
        assert result.exit_code == 1
        return "\n".join(f"error {line}" for line in result.output.replace(f"{folder}/", "").splitlines())
    findings = json.loads(result.output)
    assert result.exit_code == any(one["severity"] == "error" for one in findings)
    return "\n".join(f"{one['severity']} {one['where']}: {one['what']}" for one in findings)


def test_the_agent_that_mistakes_are_made_in_has_none(tmp_path: Path) -> None:
    assert found(RENTAL, tmp_path) == ""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found_and_its_place_and_what_was_expected_are_named(mistake: str, tmp_path: Path) -> None:
    text, instead, said = MISTAKES[mistake]
    assert text in RENTAL
    told = found(RENTAL.replace(text, instead, 1), tmp_path)
    assert said in told
    assert "s3cr3t" not in told


def test_a_write_without_the_caller_s_yes_is_warned_of_unless_it_wants_none(tmp_path: Path) -> None:
    at_once = RENTAL.replace("    confirm: true\n", "").replace("helmets, exhausted", "rent, exhausted")
    at_once = at_once.replace("go: helmets}]", "go: rent}]")
    assert f"warning {BOOK}.rent: writes without the caller's yes: a way leads here past every" in found(
        at_once, tmp_path
    )
    by_wish = at_once.replace("    effect: write\n", "    effect: write\n    confirm: false\n")
    assert "writes without" not in found(by_wish, tmp_path)
