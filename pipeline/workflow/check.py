"""What would go wrong in a flow, found without running it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

from pipeline.slots.variables import Variable
from pipeline.tools.definition import Tool
from pipeline.workflow.definition import (
    CALLER,
    END,
    WISH,
    AnyNode,
    AskNode,
    CallNode,
    ConfirmNode,
    DecideNode,
    Flow,
    FlowNode,
    Guard,
    HangUpNode,
    SayNode,
    SetNode,
    TalkNode,
    TransferNode,
    targets,
    texts,
)
from pipeline.workflow.guards import measure
from pipeline.workflow.wording import NEXT_OPENING

Severity = Literal["error", "warning"]
Names = frozenset[str]

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)(?::[a-z]+)?\}")
_ANY_DAY = date(2026, 1, 1)
_SPECIAL = frozenset({CALLER, WISH, "fitting"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or looks wrong."""

    severity: Severity
    where: str
    """Path in the agent file."""
    what: str
    """What is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What of the agent file a flow refers to."""

    flows: Mapping[str, Flow]
    variables: Mapping[str, Variable]
    tools: Mapping[str, Tool]
    targets: Names
    """Transfer targets."""
    on_call: str | None
    begun: Names
    """Flows that routes begin."""
    has_hours: bool = False
    """Whether it says when the business is open."""

    @property
    def special(self) -> Names:
        """Placeholders that the engine fills itself."""
        return _SPECIAL | {NEXT_OPENING} if self.has_hours else _SPECIAL

    @property
    def called(self) -> Names:
        """Flows that other flows run."""
        nodes = (node for flow in self.flows.values() for node in flow.nodes.values())
        return frozenset(node.flow for node in nodes if isinstance(node, FlowNode))

    @property
    def lists(self) -> Names:
        """Names of what tools put on offer, as far as nodes save it."""
        nodes = [node for flow in self.flows.values() for node in flow.nodes.values()]
        saved = {name for node in nodes if isinstance(node, CallNode) for name in node.save}
        chosen_from = {variable.options_from for variable in self.variables.values()}
        in_talk = {tool for node in nodes if isinstance(node, TalkNode) for tool in node.tools if tool in self.tools}
        saved |= {name for tool in in_talk for name in self.tools[tool].returns if name in chosen_from}
        return frozenset(saved - set(self.variables))


def check_flows(agent: Surroundings) -> Iterator[Finding]:
    """Everything that is found in the flows, in the file's order."""
    for name, flow in agent.flows.items():
        yield from _shape(name, flow, agent)
        for node_name, node in flow.nodes.items():
            yield from _names(f"flows.{name}.nodes.{node_name}", node, agent)
    yield from _used_before_known(agent)
    yield from _unconfirmed_writes(agent)


# -- the graph ---------------------------------------------------------------------------------------------------------


def _reachable(flow: Flow, start: str, *, past: Callable[[AnyNode], bool] = lambda node: True) -> Names:
    """The nodes that can be reached, `start` included; only nodes that are `past` are left again."""
    found, ahead = {start}, [start]
    while ahead:
        node = flow.nodes.get(ahead.pop())
        if node is None or not past(node):
            continue
        for target in targets(node):
            if target not in found:
                found.add(target)
                ahead.append(target)
    return frozenset(found)


def _ends(node: AnyNode) -> bool:
    return isinstance(node, TransferNode | HangUpNode) or END in targets(node)


def _shape(name: str, flow: Flow, agent: Surroundings) -> Iterator[Finding]:
    reached = _reachable(flow, flow.start)
    for node_name in flow.nodes:
        where = f"flows.{name}.nodes.{node_name}"
        if node_name not in reached:
            yield Finding("error", where, "cannot be reached from the start; lead to it, or remove it")
        elif not any(_ends(flow.nodes[other]) for other in _reachable(flow, node_name) if other in flow.nodes):
            yield Finding("error", where, "a dead end: the flow never ends from here on; lead it to `end`")
    yield from _circles(name, flow)
    if name == agent.on_call:
        for node_name, node in flow.nodes.items():
            if not isinstance(node, CallNode | DecideNode | SetNode):
                where = f"flows.{name}.nodes.{node_name}"
                yield Finding("error", where, f"`{node.do}` in the flow that runs while the greeting is said; move it")
            elif isinstance(node, CallNode) and (tool := agent.tools.get(node.tool)) and tool.effect == "write":
                yield Finding("error", f"flows.{name}.nodes.{node_name}", "a write before the caller has said a word")
    elif name not in agent.begun and not any(
        isinstance(node, FlowNode) and node.flow == name
        for other in agent.flows.values()
        for node in other.nodes.values()
    ):
        yield Finding("warning", f"flows.{name}", "is never begun: no route and no other flow leads to it")


def _circles(name: str, flow: Flow) -> Iterator[Finding]:
    def goes_on_by_itself(node: AnyNode) -> bool:
        return isinstance(node, SayNode | SetNode | DecideNode | FlowNode)

    def waits_for_nobody(node: AnyNode) -> bool:
        return goes_on_by_itself(node) or isinstance(node, CallNode)

    for node_name, node in flow.nodes.items():
        where = f"flows.{name}.nodes.{node_name}"
        after = {place for target in targets(node) for place in _reachable(flow, target, past=goes_on_by_itself)}
        if isinstance(node, CallNode) and node_name in _reachable(flow, node.failed, past=waits_for_nobody):
            yield Finding(
                "error", f"{where}.failed", "leads back to the same call without a word of the caller's; ask in between"
            )
        elif isinstance(node, TalkNode) and any(
            node_name in _reachable(flow, target, past=waits_for_nobody) for target in (node.failed, node.exhausted)
        ):
            yield Finding("error", where, "`failed` or `exhausted` leads back to the same conversation; end it there")
        elif isinstance(node, SayNode | SetNode | FlowNode) and node_name in after:
            by_itself = {
                place for target in targets(node) for place in _reachable(flow, target, past=goes_on_by_itself)
            }
            if node_name in by_itself:
                yield Finding("warning", where, "may be passed again and again without a word of the caller's")


# -- names -------------------------------------------------------------------------------------------------------------


def _names(where: str, node: AnyNode, agent: Surroundings) -> Iterator[Finding]:
    known = frozenset(agent.variables) | agent.lists | agent.special
    for text in texts(node):
        for name in _PLACEHOLDER.findall(text):
            if name not in known:
                yield Finding("error", where, f"{{{name}}} names nothing; {_expected(agent.variables)}")
    match node:
        case AskNode():
            yield from _asked_for(f"{where}.variable", node.variable, agent)
            if node.settled_by is not None:
                yield from _is_variable(f"{where}.settled_by", node.settled_by, agent)
        case ConfirmNode():
            for name in (*node.variables, *node.forget):
                yield from _is_variable(where, name, agent, or_list=True)
            types = {agent.variables[name].type for name in node.variables if name in agent.variables}
            if node.change is not None and types <= {"text", "yes_no"}:
                what = "nothing of this can be changed in a few words; leave it out, and ask again on `on_no`"
                yield Finding("warning", f"{where}.change", what)
        case DecideNode():
            for edge in node.edges:
                yield from check_guard(f"{where}.edges", edge.when, agent)
        case SetNode():
            for name in (*node.values, *node.forget):
                yield from _is_variable(where, name, agent, or_list=True)
            for text in node.values.values():
                yield from (
                    Finding("error", where, f"{{{name}}} names nothing; {_expected(agent.variables)}")
                    for name in _PLACEHOLDER.findall(text)
                    if name not in known
                )
        case FlowNode() if node.flow not in agent.flows:
            yield Finding("error", f"{where}.flow", f"no flow {node.flow!r}; {_expected(agent.flows)}")
        case TransferNode() if node.target not in agent.targets:
            yield Finding("error", f"{where}.target", f"no target {node.target!r}; {_expected(agent.targets)}")
        case CallNode():
            yield from _call(where, node, agent, known)
        case TalkNode():
            for name in node.fill:
                yield from _asked_for(f"{where}.fill", name, agent)
            for name in node.tools:
                yield from _talk_tool(f"{where}.tools.{name}", name, node, agent, known)
            if _silent_to_the_end(agent.flows[where.split(".")[1]], node.failed):
                yield Finding("error", f"{where}.failed", "the flow ends without a word; say something")
        case _:
            pass


def check_guard(where: str, guard: Guard, agent: Surroundings) -> Iterator[Finding]:
    """What is wrong with a condition: names that are not there, bounds that do not fit, hours that nobody gave."""
    for name in (*(name for name in (guard.known, guard.unknown) if name and name != CALLER), *guard.compared()):
        yield from _is_variable(where, name, agent, or_list=True)
    types = {name: agent.variables[name].type for name in guard.compared() if name in agent.variables}
    bounds = [
        *(("at_least", name, bound) for name, bound in guard.at_least.items()),
        *(("at_most", name, bound) for name, bound in guard.at_most.items()),
        *(("between", name, bound) for name, pair in guard.between.items() for bound in pair),
    ]
    for key, name, bound in bounds:
        try:
            measure(types.get(name, "number"), bound, _ANY_DAY)
        except ValueError as error:
            yield Finding("error", f"{where}.{key}.{name}", f"{error}; correct it")
    for name in guard.weekday:
        if types.get(name, "date") != "date":
            yield Finding("error", f"{where}.weekday.{name}", f"is of type {types[name]}; expected a date")
    moment = [types[name] for name in guard.moment() if name in types]
    if any(kind not in ("date", "time") for kind in moment) or len(set(moment)) < len(moment):
        what = f"expected a date, a time, or one of each; got {' and '.join(moment)}"
        yield Finding("error", f"{where}.open", what)
    if guard.open is not None and not agent.has_hours:
        yield Finding("error", f"{where}.open", "nobody knows when it is open; give the days in `hours`")
    for inner in (*guard.any_of, *guard.none_of):
        yield from check_guard(where, inner, agent)


def _call(where: str, node: CallNode, agent: Surroundings, known: Names) -> Iterator[Finding]:
    tool = agent.tools.get(node.tool)
    if tool is None:
        yield Finding("error", f"{where}.tool", f"no tool {node.tool!r}; {_expected(agent.tools)}")
        return
    for argument, text in node.arguments.items():
        if tool.http is not None and argument not in tool.arguments:
            yield Finding(
                "error", f"{where}.arguments.{argument}", f"{node.tool} has none; {_expected(tool.arguments)}"
            )
        for name in _PLACEHOLDER.findall(text):
            if name not in known:
                yield Finding("error", f"{where}.arguments.{argument}", f"{{{name}}} names nothing")
    for argument, form in tool.arguments.items():
        if form.required and argument not in node.arguments:
            yield Finding("error", f"{where}.arguments", f"{node.tool} needs {argument!r}; give it")
    for name, returned in node.save.items():
        if tool.http is not None and returned not in tool.returns:
            yield Finding(
                "error", f"{where}.save.{name}", f"{node.tool} returns no {returned!r}; {_expected(tool.returns)}"
            )
    in_talk = not where.startswith(f"flows.{agent.on_call}.")
    flow = agent.flows[where.split(".")[1]]
    if in_talk and _silent_to_the_end(flow, node.failed):
        yield Finding("error", f"{where}.failed", "the flow ends without a word about the failure; say something")


def _talk_tool(where: str, name: str, node: TalkNode, agent: Surroundings, known: Names) -> Iterator[Finding]:
    tool, used = agent.tools.get(name), node.tools[name]
    if tool is None:
        yield Finding("error", where, f"no tool {name!r}; {_expected(agent.tools)}")
        return
    if not node.limits.tools:
        yield Finding("error", f"{where.rpartition('.tools')[0]}.limits.tools", f"0, so that {name} is never called")
    said = set(_PLACEHOLDER.findall(used.read_back or ""))
    if tool.effect == "write" and used.read_back is None:
        yield Finding("error", f"{where}.read_back", "is missing: a write needs the caller's yes; word the question")
    elif tool.effect == "read" and used.read_back is not None:
        yield Finding("warning", f"{where}.read_back", f"is never asked: {name} only reads")
    for argument, text in used.arguments.items():
        if argument not in tool.arguments:
            yield Finding("error", f"{where}.arguments.{argument}", f"{name} has none; {_expected(tool.arguments)}")
        for placeholder in _PLACEHOLDER.findall(text):
            if placeholder not in known:
                yield Finding("error", f"{where}.arguments.{argument}", f"{{{placeholder}}} names nothing")
    for argument, form in tool.arguments.items():
        text = used.arguments.get(argument, f"{{{argument}}}")
        if form.required and argument not in used.arguments and argument not in known:
            yield Finding("error", where, f"{name} needs {argument!r}, which is no variable; give it in `arguments`")
        for variable in sorted((set(_PLACEHOLDER.findall(text)) & set(agent.variables)) - said):
            if tool.effect == "write" and used.read_back is not None:
                what = f"does not say {{{variable}}}, which {name} gets: the caller confirms what he has not heard"
                yield Finding("error", f"{where}.read_back", what)


def _silent_to_the_end(flow: Flow, start: str) -> bool:
    """Whether `end` can be reached without a word."""
    quiet = _reachable(flow, start, past=lambda node: isinstance(node, SetNode | DecideNode))
    return END in quiet


def _asked_for(where: str, name: str, agent: Surroundings) -> Iterator[Finding]:
    yield from _is_variable(where, name, agent)
    variable = agent.variables.get(name)
    if variable is not None and variable.options_from and variable.options_from not in agent.lists:
        what = f"the list {variable.options_from!r} that {name!r} is chosen from is never saved by a call"
        yield Finding("error", f"variables.{name}.options_from", what)


def _is_variable(where: str, name: str, agent: Surroundings, *, or_list: bool = False) -> Iterator[Finding]:
    if name not in agent.variables and not (or_list and name in agent.lists):
        yield Finding("error", where, f"no variable {name!r}; {_expected(agent.variables)}")


def _expected(names: Iterable[str]) -> str:
    return f"expected one of {', '.join(names) or 'none'}"


# -- what is known where -----------------------------------------------------------------------------------------------


class _Knowledge:
    """What is surely known at each node, whatever way led there."""

    def __init__(self, agent: Surroundings) -> None:
        self._agent = agent
        self._everything = frozenset(agent.variables) | agent.lists
        self._gained: dict[str, Names] = dict.fromkeys(agent.flows, self._everything)
        self._forgotten = {name: _forgotten(name, agent) for name in agent.flows}
        # Everything shrinks towards what holds on every way; a few rounds are enough for flows that call each other.
        rounds = range(len(agent.flows) + 2)
        for _ in rounds:
            for name, flow in agent.flows.items():
                self._gained[name] = self._known(flow, frozenset()).get(END, self._everything)
        begun = {*agent.begun, agent.on_call}
        enter = {name: frozenset() if name in begun else self._everything for name in agent.flows}
        self._at: dict[tuple[str, str], Names] = {}
        for _ in rounds:
            for name, flow in agent.flows.items():
                for node_name, names in self._known(flow, enter[name]).items():
                    self._at[name, node_name] = names
                    node = flow.nodes.get(node_name)
                    if isinstance(node, FlowNode) and node.flow in enter:
                        enter[node.flow] &= names

    def at(self, flow: str, node: str) -> Names:
        return self._at.get((flow, node), frozenset())

    def _known(self, flow: Flow, enter: Names) -> dict[str, Names]:
        known: dict[str, Names] = {flow.start: enter}
        ahead = [flow.start]
        while ahead:
            node_name = ahead.pop()
            node = flow.nodes.get(node_name)
            if node is None:
                continue
            for target, after in self._after(node, known[node_name]):
                before = known.get(target)
                joined = after if before is None else before & after
                if joined != before:
                    known[target] = joined
                    ahead.append(target)
        return known

    def _after(self, node: AnyNode, known: Names) -> Iterator[tuple[str, Names]]:
        match node:
            case SayNode():
                yield node.go, known
            case AskNode():
                yield node.go, known if node.settled_by else known | {node.variable}
                yield node.exhausted, known
            case DecideNode():
                not_so: Names = frozenset()
                for edge in node.edges:
                    yield edge.go, known | not_so | _known_if(edge.when)
                    not_so |= _known_unless(edge.when)
                yield node.otherwise, known | not_so
            case CallNode():
                yield node.go, known | frozenset(node.save)
                for target in (*node.rejected.values(), node.failed):
                    yield target, known
            case TalkNode():
                # A model decides when it leaves: nothing is surely known by then.
                for target in targets(node):
                    yield target, known
            case ConfirmNode():
                yield node.on_yes, known | frozenset(node.variables)
                yield node.on_no, known - frozenset(node.forget)
                yield node.exhausted, known
            case SetNode():
                yield node.go, (known - frozenset(node.forget)) | frozenset(node.values)
            case FlowNode():
                yield (
                    node.go,
                    (known - self._forgotten.get(node.flow, frozenset())) | self._gained.get(node.flow, known),
                )
            case TransferNode() | HangUpNode():
                pass


def _forgotten(flow: str, agent: Surroundings) -> Names:
    """What a flow, or one that it runs, may forget."""
    found: set[str] = set()
    seen, ahead = {flow}, [flow]
    while ahead:
        left = agent.flows[ahead.pop()]
        found |= set(left.forget)
        for node in left.nodes.values():
            if isinstance(node, SetNode | ConfirmNode):
                found |= set(node.forget)
            elif isinstance(node, FlowNode) and node.flow in agent.flows and node.flow not in seen:
                seen.add(node.flow)
                ahead.append(node.flow)
    return frozenset(found)


def _known_if(guard: Guard) -> Names:
    """What must be known for it to hold."""
    names = {*guard.compared()}
    if guard.known:
        names.add(guard.known)
    for inner in guard.none_of:
        names |= _known_unless(inner)
    if guard.any_of:
        names |= frozenset.intersection(*(_known_if(inner) for inner in guard.any_of))
    return frozenset(names)


def _known_unless(guard: Guard) -> Names:
    """What must be known if it does not hold."""
    alone = guard.model_fields_set <= {"unknown"} and guard.unknown is not None
    return frozenset({guard.unknown}) if alone and guard.unknown else frozenset()


def _used_before_known(agent: Surroundings) -> Iterator[Finding]:
    knowledge = _Knowledge(agent)
    for flow_name, flow in agent.flows.items():
        for node_name, node in flow.nodes.items():
            known = knowledge.at(flow_name, node_name) | agent.special
            where = f"flows.{flow_name}.nodes.{node_name}"
            # What a free conversation says of a tool is said once the tool has what it needs.
            said = () if isinstance(node, TalkNode) else texts(node)
            told = {name for text in said for name in _PLACEHOLDER.findall(text)}
            if isinstance(node, AskNode):
                # A list that is empty makes the question pointless, but the flow looks at that itself.
                told -= agent.lists
            for name in sorted(told - known):
                yield Finding("warning", where, f"says {{{name}}}, which is not known on every way here")
            if isinstance(node, ConfirmNode):
                for name in sorted(set(node.variables) - known - told):
                    yield Finding("warning", f"{where}.variables", f"{name!r} is not known on every way here")
            if isinstance(node, CallNode) and node.tool in agent.tools:
                required = {name for name, form in agent.tools[node.tool].arguments.items() if form.required}
                for argument in sorted(required & set(node.arguments)):
                    for name in sorted(set(_PLACEHOLDER.findall(node.arguments[argument])) - known):
                        what = f"needs {{{name}}}, which is not known on every way here"
                        yield Finding("warning", f"{where}.arguments.{argument}", what)


def _unconfirmed_writes(agent: Surroundings) -> Iterator[Finding]:
    def agreed(node: AnyNode) -> bool:
        variable = agent.variables.get(node.variable) if isinstance(node, AskNode) else None
        return isinstance(node, ConfirmNode) or (variable is not None and variable.type == "yes_no")

    for flow_name, flow in agent.flows.items():
        unconfirmed = _reachable(flow, flow.start, past=lambda node: not isinstance(node, ConfirmNode))
        unasked = _reachable(flow, flow.start, past=lambda node: not agreed(node))
        for node_name, node in flow.nodes.items():
            tool = agent.tools.get(node.tool) if isinstance(node, CallNode) else None
            if not isinstance(node, CallNode) or tool is None or tool.effect != "write":
                continue
            where = f"flows.{flow_name}.nodes.{node_name}"
            if tool.confirm and node_name in unconfirmed:
                yield Finding("error", where, "a way leads here past every `confirm`, which this tool wants before it")
            elif "confirm" not in tool.model_fields_set and node_name in unasked:
                what = (
                    "writes without the caller's yes: a way leads here past every read-back; `confirm` before it, or "
                    f"say `confirm: false` in tools.{node.tool}"
                )
                yield Finding("warning", where, what)
