"""A form as what it is made of: a question for each field, a read-back of all, and a way out for who says no twice.

Nothing else need know forms: whatever runs, checks or draws flows sees questions and read-backs.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.slots.types import Language
from pipeline.understanding.phrases import Phrases, phrases
from pipeline.workflow.definition import (
    CALLER,
    END,
    AnyNode,
    AskNode,
    ConfirmNode,
    DecideNode,
    Edge,
    Flow,
    FormField,
    FormNode,
    Guard,
    SayNode,
    SetNode,
    Wordings,
    last_question,
    wordings,
)


def without_forms(flow: Flow, language: Language) -> Flow:
    """The flow with its forms taken apart. Raises ValueError for a form whose parts are named like other nodes, or that
    does not say where a second no leads."""
    if not any(isinstance(node, FormNode) for node in flow.nodes.values()):
        return flow
    nodes: dict[str, AnyNode] = {}
    for name, node in flow.nodes.items():
        parts = dict(_parts(name, node, flow, phrases(language))) if isinstance(node, FormNode) else {name: node}
        if taken := [part for part in parts if part in nodes or (part in flow.nodes and part != name)]:
            raise ValueError(f"nodes.{name}: a part of this form is called {taken[0]!r}; rename the node of that name")
        nodes |= parts
    return flow.model_copy(update={"nodes": nodes})


def _parts(name: str, form: FormNode, flow: Flow, words: Phrases) -> Iterator[tuple[str, AnyNode]]:
    read_back, left = f"{name}_read_back", f"{name}_left"
    names = [name, *(f"{name}_{variable}" for variable in list(form.fields)[1:])]
    following = [*names[1:], read_back if form.read_back else form.go]
    for here, after, (variable, field) in zip(names, following, form.questions().items(), strict=True):
        asked = here
        if field.when is not None:
            asked = f"{here}_asked"
            yield here, DecideNode(do="decide", edges=(Edge(when=field.when, go=asked),), otherwise=after)
        if field.default is not None:
            first, taken, asked = asked, f"{here}_default", f"{here}_question"
            edges = tuple(
                Edge(when=Guard(known=name), go=go) for name, go in ((variable, after), (field.default, taken))
            )
            yield first, DecideNode(do="decide", edges=edges, otherwise=asked)
            yield taken, SetNode(do="set", values={variable: f"{{{field.default}}}"}, go=after)
        yield asked, _question(form, variable, field, after, words)
    if form.read_back is None:
        return
    if form.on_no is None and flow.cancelled is None:
        raise ValueError(f"nodes.{name}: give `on_no`, or the flow a `cancelled`: where does a second no lead?")
    alone = len((*form.also, *form.fields)) == 1
    yield (
        read_back,
        ConfirmNode(
            do="confirm",
            note=form.note,
            model=form.model,
            say=again(form.read_back, words.yes_or_no),
            variables=(*form.also, *form.fields),
            change=form.change or (None if alone and form.on_no else words.change),
            on_yes=form.go,
            on_no=form.on_no or left,
            forget=(*form.also, *form.fields, *_defaults(form)),
            exhausted=form.exhausted,
        ),
    )
    if form.on_no is None and flow.cancelled is not None:
        yield left, SayNode(do="say", say=flow.cancelled, go=END)


def _defaults(form: FormNode) -> Iterator[str]:
    """Variables whose values were taken instead of asking: who says no twice is asked."""
    taken = (field.default for field in form.questions().values())
    yield from (name for name in taken if name is not None and name != CALLER)


def _question(form: FormNode, variable: str, field: FormField, after: str, words: Phrases) -> AskNode:
    return AskNode(
        do="ask",
        note=form.note,
        model=form.model,
        variable=variable,
        settled_by=field.settled_by,
        take_only=field.take_only,
        say=again(field.say, words.not_got),
        narrow=field.narrow or words.narrow,
        tries=field.tries,
        exhausted=form.exhausted,
        go=after,
    )


def again(given: Wordings, sorry: str) -> tuple[str, ...]:
    """Wordings of a question for one answer after the other: a single one is put again with an apology."""
    first, *others = wordings(given)
    question = first if "{" in first else last_question(first)
    return (first, *(others or [f"{sorry} {question}"]))
