"""Flows as graphs of nodes, as the agent file writes them down. Pure data; pipeline/workflow/engine.py runs them.

The model fills, the graph decides: what is asked, in which order, what is written where and what is said about it stand
here, whatever language model runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue, field_validator, model_validator

from models.settings import StrictModel
from pipeline.hours import weekdays_of

END = "end"
"""A target: the flow is over; the flow that called it goes on, or the caller may ask anything."""

Text = Annotated[str, Field(min_length=1, max_length=400)]
"""Something to say. {name} stands for a variable or list as it is spoken."""
Wordings = Text | Annotated[tuple[Text, ...], Field(min_length=1)]
"""A text; or several, of which the later ones are for when the answer did not fit."""
Target = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
"""A node of the same flow, or `end`."""
Bound = float | str
"""Of a number or sum: a number. Of a time of day: 17:30. Of a date: "2026-12-24", today, or today+3."""
NOW = "now"
"""The present moment, where the business is."""
CALLER = "caller"
"""The number that the call comes from, in E.164, where a variable is named; unknown if it is withheld."""
WISH = "wish"
"""What the caller said when the flow that is under way began: what a call back is about. For arguments."""
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")


class Guard(StrictModel):
    """A condition on what is known. All keys that are given must hold."""

    known: str | None = None
    """This variable has a value, or this list has entries; `caller`: the number that the call comes from is known."""
    unknown: str | None = None
    """This variable has no value, or this list is empty."""
    equals: dict[str, str] = Field(default_factory=dict)
    """Variables that have exactly these canonical values."""
    at_least: dict[str, Bound] = Field(default_factory=dict)
    """Numbers, sums of money, times of day and dates that are at least this."""
    at_most: dict[str, Bound] = Field(default_factory=dict)
    """Such that are at most this."""
    between: dict[str, tuple[Bound, Bound]] = Field(default_factory=dict)
    """Such that are at least the first and at most the second; a time of day may go past midnight ([22:00, 2:00])."""
    weekday: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    """Dates that fall on one of these days: monday-friday, or [monday, wednesday]."""
    open: str | None = None
    """The business is open then, as the agent's `hours` say: `now`, or variables of types date and time ("{day}
    {hour}"); a date alone: some time on it; a time alone: today."""
    level: int | None = Field(None, ge=0, le=9)
    """The caller's verification level is at least this."""
    any_of: tuple[Guard, ...] = ()
    """One of these holds."""
    none_of: tuple[Guard, ...] = ()
    """None of these holds."""

    @model_validator(mode="after")
    def _says_something(self) -> Guard:
        if not self.model_fields_set:
            raise ValueError(f"an empty condition; expected one or more of {', '.join(Guard.model_fields)}")
        return self

    @field_validator("open")
    @classmethod
    def _names_a_moment(cls, text: str | None) -> str | None:
        if text is not None and text != NOW and (_PLACEHOLDER.sub("", text).strip() or "{" not in text):
            raise ValueError(f'expected {NOW} or variables, such as "{{day}} {{hour}}"')
        return text

    @field_validator("weekday")
    @classmethod
    def _names_weekdays(cls, days: dict[str, str | tuple[str, ...]]) -> dict[str, str | tuple[str, ...]]:
        for each in days.values():
            weekdays_of(_joined(each))
        return days

    def weekdays(self) -> Mapping[str, tuple[int, ...]]:
        """`weekday`, in numbers: 0 is Monday."""
        return {name: weekdays_of(_joined(each)) for name, each in self.weekday.items()}

    def moment(self) -> tuple[str, ...]:
        """The variables of `open`."""
        return tuple(_PLACEHOLDER.findall(self.open or ""))

    def compared(self) -> tuple[str, ...]:
        """What must have a value for it to hold, `known` aside."""
        return (*self.equals, *self.at_least, *self.at_most, *self.between, *self.weekday, *self.moment())


def _joined(days: str | tuple[str, ...]) -> str:
    return days if isinstance(days, str) else ",".join(days)


class Node(StrictModel):
    """What every node has."""

    note: str = ""
    """For whoever reads the file."""
    model: Literal["auto", "small", "large"] = "auto"
    """Which language model words answers to questions that come up while the call stands here."""


def _comes_along(*keys: str) -> ConfigDict:
    """For editors: a file need not have these keys (pipeline/agent_trouble.py)."""

    def leave_out(schema: dict[str, JsonValue]) -> None:
        required = schema["required"]
        schema["required"] = [one for one in required if one not in keys] if isinstance(required, list) else required

    return ConfigDict(json_schema_extra=leave_out)


def _or_a_text(schema: dict[str, JsonValue]) -> None:
    """For editors: one wording need not be a list (pipeline/agent_questions.py)."""
    several = {key: schema.pop(key) for key in ("type", "items", "minItems")}
    schema["anyOf"] = [{"type": "string", "minLength": 1, "maxLength": 400}, several]


class SayNode(Node):
    """Say something, and go on without waiting for an answer."""

    do: Literal["say"]
    say: Text
    """What is said."""
    go: Target
    """The node that follows; `end` ends the flow."""


class AskNode(Node):
    """Ask for one variable, until it is known. Skipped if it is known already."""

    model_config = _comes_along("exhausted")

    do: Literal["ask"]
    variable: str
    """What is asked for."""
    settled_by: str | None = None
    """Another variable: once that is known, this question is needless, and the flow goes on as if it were answered."""
    take_only: bool = False
    """If one thing alone is on offer, it is taken instead of asking."""
    say: tuple[Text, ...] = Field(min_length=1, json_schema_extra=_or_a_text)
    """The question; then other wordings of it, for when the answer did not fit. A text alone is put again with an
    apology before it."""
    narrow: Text | None = None
    """Asked instead if several of the things on offer fit the answer; {fitting} names them."""
    tries: int = Field(3, ge=1, le=10)
    """Answers that do not fit before the flow gives up on it."""
    exhausted: Target
    """Where to go then."""
    go: Target
    """The node that follows; `end` ends the flow."""


class Edge(StrictModel):
    """One way on from a decision."""

    when: Guard
    go: Target
    """The node that follows then."""


class DecideNode(Node):
    """Go where the first condition holds."""

    do: Literal["decide"]
    edges: tuple[Edge, ...] = Field(min_length=1)
    otherwise: Target
    """The node that follows if no edge holds."""


class CallNode(Node):
    """Call a tool. Never before the caller's turn is over."""

    model_config = _comes_along("failed")

    do: Literal["call"]
    tool: str
    """Which of the agent's `tools` is called."""
    arguments: dict[str, str] = Field(default_factory=dict)
    """Argument -> text with {variable} placeholders for canonical values; {caller} is the caller's number,
    {wish} what he said when the flow began."""
    save: dict[str, str] = Field(default_factory=dict)
    """Variable or list -> name among the tool's returns."""
    go: Target
    """Where to go once it is done."""
    rejected: dict[str, Target] = Field(default_factory=dict)
    """Where to go if the system said no, by its code; a code that is not listed counts as a failure."""
    failed: Target
    """Where to go if it could not be done, or nobody knows whether it was."""


class ConfirmNode(Node):
    """Read something back and have it confirmed; a correction in the answer is taken over and read back again."""

    model_config = _comes_along("exhausted")

    do: Literal["confirm"]
    say: tuple[Text, ...] = Field(min_length=1, json_schema_extra=_or_a_text)
    """The read-back; then other wordings of it. A text alone is put again after a word that a yes or a no is needed."""
    variables: tuple[str, ...] = Field(min_length=1)
    """What the yes confirms, and a no may correct."""
    on_yes: Target
    """The node that follows a yes."""
    on_no: Target
    """After a no without a correction."""
    forget: tuple[str, ...] = ()
    """What that no makes unknown again."""
    change: Text | None = None
    """Asked after a no without a correction, with everything kept: what shall be changed? Only a second no goes to
    `on_no`."""
    tries: int = Field(3, ge=1, le=10)
    """Answers that do not fit before the flow gives up on it."""
    exhausted: Target
    """Where to go then."""


class FormField(StrictModel):
    """A variable that a form collects."""

    say: Wordings
    """As of `ask`. A single wording is put again with an apology before it."""
    narrow: Text | None = None
    """As of `ask`; None: as the language has it."""
    settled_by: str | None = None
    """As of `ask`."""
    take_only: bool = False
    """As of `ask`."""
    when: Guard | None = None
    """Asked for only if this holds, once the fields before it are known."""
    default: str | None = None
    """Another variable, or `caller`: if that is known, it is taken instead of asking, and read back like an answer."""
    tries: int = Field(3, ge=1, le=10)
    """Answers that do not fit before the form gives up."""


class FormNode(Node):
    """Collect variables in any order, and read them back once: an `ask` for each and a `confirm`, as which it is run
    (pipeline/workflow/form.py)."""

    model_config = _comes_along("exhausted")

    do: Literal["form"]
    fields: dict[str, Wordings | FormField] = Field(min_length=1)
    """Variables in the order in which they are asked for, each with its question, or a list of wordings, or the keys of
    a field."""
    read_back: Wordings | None = None
    """The read-back of it all; then other wordings. Left out: nothing is read back."""
    also: tuple[str, ...] = ()
    """Variables that are read back beside the fields, as earlier forms have them."""
    change: Text | None = None
    """Asked after a bare no to the read-back; None: as the language has it, or nothing, if only one thing is read back
    and there is `on_no`."""
    on_no: Target | None = None
    """After a second one, with the fields forgotten; None: the flow's `cancelled` is said, and it ends."""
    exhausted: Target
    """Where to go if no answer that fits is given."""
    go: Target
    """The node that follows; `end` ends the flow."""

    def questions(self) -> dict[str, FormField]:
        """The fields, written out."""
        return {
            name: given if isinstance(given, FormField) else FormField(say=given) for name, given in self.fields.items()
        }


class SetNode(Node):
    """Set or clear variables."""

    do: Literal["set"]
    values: dict[str, str] = Field(default_factory=dict)
    """Canonical values; may contain {other} variables."""
    forget: tuple[str, ...] = ()
    """Variables and lists that are unknown again."""
    go: Target
    """The node that follows; `end` ends the flow."""


class FlowNode(Node):
    """Run another flow, then go on."""

    do: Literal["flow"]
    flow: str
    """Which of the agent's `flows` is run."""
    go: Target
    """The node that follows; `end` ends the flow."""


class TransferNode(Node):
    """Hand the call over to a person. If that is the default one, and `escalation.away` holds, its flow is run instead
    (pipeline/agent_trouble.py), unless this is an emergency."""

    model_config = _comes_along("target")

    do: Literal["transfer"]
    reason: Literal["request", "frustration", "exhausted", "tool_failure", "policy", "emergency"]
    """For the person who takes over, and for reports."""
    target: str
    """Name among the agent's transfer targets; left out in a file: the default one."""
    say: Text | None = None
    """Said before the caller is put through."""
    next_step: str = ""
    """What is suggested to whoever takes the call."""


class HangUpNode(Node):
    """Say goodbye and end the call."""

    do: Literal["hang_up"]
    say: Text
    """The goodbye."""


class TalkTool(StrictModel):
    """A tool that a free conversation may call."""

    arguments: dict[str, str] = Field(default_factory=dict)
    """As of `call`. One that is not given here is the variable of its name. What the tool returns under the name of a
    variable, or of a list that a variable is chosen from, is saved there."""
    read_back: Text | None = None
    """For a write, and needed there: the question whose yes has it called."""
    done: Text | None = None
    """Said once it is done, whatever the model says then."""
    rejected: dict[str, Text] = Field(default_factory=dict)
    """Said if the system said no, by its code."""


class TalkLimits(StrictModel):
    """How long a free conversation may go on."""

    turns: int = Field(8, ge=1, le=100)
    """Utterances of the caller's."""
    tools: int = Field(6, ge=0, le=100)
    """Tool calls."""
    time_s: float = Field(180.0, gt=0, le=3600)
    """From the first question to the model."""


class TalkNode(Node):
    """Leave the talking to a language model: it has a goal, variables to fill, tools to call, and named ways out."""

    model_config = _comes_along("exhausted", "failed")

    do: Literal["talk"]
    goal: Text
    """What it is to reach, as one would tell a colleague."""
    say: Text | None = None
    """Its first words; without them the model answers what led here at once."""
    fill: dict[str, Text] = Field(default_factory=dict)
    """Variables, and the question for each, asked where the model has nothing to say that holds."""
    tools: dict[str, TalkTool] = Field(default_factory=dict)
    never: tuple[Text, ...] = ()
    """What it must not speak of ("promise a refund"): no sentence with these words, those of saying aside, is said."""
    ways: dict[Target, Target] = Field(min_length=1)
    """The name of each way out, as the model chooses it, and where it leads."""
    limits: TalkLimits = TalkLimits()
    exhausted: Target
    """Where to go once a limit is reached."""
    failed: Target
    """Where to go if the model does not answer, or a tool could not do its work, or nobody knows whether it did."""

    @model_validator(mode="after")
    def _has_words_of_its_own(self) -> TalkNode:
        if self.say is None and not self.fill:
            raise ValueError("give `say` or `fill`: the node needs words for where the model has none that hold")
        return self


AnyNode = Annotated[
    SayNode
    | AskNode
    | DecideNode
    | CallNode
    | ConfirmNode
    | FormNode
    | SetNode
    | FlowNode
    | TransferNode
    | HangUpNode
    | TalkNode,
    Field(discriminator="do"),
]


def wordings(given: Wordings) -> tuple[str, ...]:
    """One or several as several."""
    return (given,) if isinstance(given, str) else given


def last_question(text: str) -> str:
    """The question that a text ends with, without what leads up to it; all of it if it ends with none."""
    *_, last = re.split(r"(?<=[.!?]) +", text)
    return last if last.endswith("?") else text


def without_last_question(says: Sequence[str]) -> tuple[str, ...]:
    """What is said, but for the question at its end: something else is asked instead."""
    if not says or not says[-1].endswith("?"):
        return tuple(says)
    told = says[-1].removesuffix(last_question(says[-1])).strip()
    return (*says[:-1], told) if told else tuple(says[:-1])


def targets(node: AnyNode) -> tuple[str, ...]:
    """Every node that may follow, in the file's order; `end` included."""
    match node:
        case SayNode() | SetNode() | FlowNode():
            return (node.go,)
        case AskNode():
            return (node.go, node.exhausted)
        case DecideNode():
            return (*(edge.go for edge in node.edges), node.otherwise)
        case CallNode():
            return (node.go, *node.rejected.values(), node.failed)
        case ConfirmNode():
            return (node.on_yes, node.on_no, node.exhausted)
        case FormNode():
            return (node.go, *((node.on_no,) if node.on_no else ()), node.exhausted)
        case TalkNode():
            return (*node.ways.values(), node.exhausted, node.failed)
        case TransferNode() | HangUpNode():
            return ()


def texts(node: AnyNode) -> tuple[str, ...]:
    """Everything it may say."""
    match node:
        case SayNode() | HangUpNode():
            return (node.say,)
        case AskNode():
            return (*node.say, *((node.narrow,) if node.narrow else ()))
        case ConfirmNode():
            return (*node.say, *((node.change,) if node.change else ()))
        case TransferNode():
            return (node.say,) if node.say else ()
        case FormNode():
            asked = [wordings(field.say) for field in node.questions().values()]
            read_back = wordings(node.read_back) if node.read_back else ()
            return tuple(text for one in (*asked, read_back) for text in one)
        case TalkNode():
            of_tools = ((tool.read_back, tool.done, *tool.rejected.values()) for tool in node.tools.values())
            said = (node.say, *node.fill.values(), *(text for group in of_tools for text in group))
            return tuple(text for text in said if text)
        case _:
            return ()


class Flow(StrictModel):
    """One task that the agent can do in talk."""

    start: Target
    """The first node."""
    nodes: dict[Target, AnyNode] = Field(min_length=1)
    """By the names that other nodes lead to."""
    cancelled: Text | None = None
    """Said if the caller calls it off; without it, it cannot be called off."""
    forget: tuple[str, ...] = ()
    """What is unknown again once it is over: what the caller wants next may be something else."""
    instead_of: tuple[str, ...] = ()
    """Flows that are given up if this one is begun in their midst: the caller has changed his mind. Any other flow is
    gone on with afterwards."""

    @model_validator(mode="after")
    def _targets_exist(self) -> Flow:
        if END in self.nodes:
            raise ValueError(f"nodes.{END}: this name is taken: it ends the flow")
        known = {*self.nodes, END}
        wrong = [
            f"nodes.{name}: leads to {target!r}"
            for name, node in self.nodes.items()
            for target in targets(node)
            if target not in known
        ]
        if self.start not in self.nodes:
            wrong.append(f"start: {self.start!r}")
        if wrong:
            raise ValueError(f"no such node: {'; '.join(wrong)}; expected one of {', '.join(sorted(known))}")
        return self

    def variables(self) -> tuple[str, ...]:
        """The variables it asks for, in the file's order."""
        asked: dict[str, None] = {}
        for node in self.nodes.values():
            if isinstance(node, AskNode):
                asked[node.variable] = None
            elif isinstance(node, TalkNode):
                asked |= dict.fromkeys(node.fill)
            elif isinstance(node, FormNode):
                asked |= dict.fromkeys(node.fields)
        return tuple(asked)
