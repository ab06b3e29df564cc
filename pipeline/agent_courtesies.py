"""What every caller says, whatever the business: whether an agent file has an answer to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.agent import Agent
from pipeline.slots.types import Language
from pipeline.slots.wording import plain_words
from pipeline.workflow.check import Finding


@dataclass(frozen=True, slots=True)
class Courtesy:
    """Something that callers of every business say."""

    name: str
    said: tuple[str, ...]
    """Ways of saying it, the commonest first."""
    ends_call: bool = False
    """Whether the call may end by it."""
    expected: bool = False
    """Whether a route should have an example of it: its words mean nothing to a router that has none like them."""


COURTESIES: Mapping[Language, tuple[Courtesy, ...]] = MappingProxyType(
    {
        "en": (
            Courtesy("hello", ("Hello", "Hi", "Hello there", "Hi there", "Good morning", "Hey"), expected=True),
            Courtesy("yes", ("Yes", "Yes please", "Yeah", "Sure"), expected=True),
            Courtesy("no", ("No", "No thanks", "No thank you"), ends_call=True),
            Courtesy("thanks", ("Thank you", "Thanks", "Thanks a lot", "Thank you very much"), expected=True),
            Courtesy("goodbye", ("Goodbye", "Bye", "Bye bye"), ends_call=True),
            Courtesy("hours", ("What are your opening hours?",)),
            Courtesy("a person", ("Can I speak to someone?",)),
            Courtesy("a moment", ("Hang on",)),
            Courtesy("say again", ("What?",)),
        ),
        "es": (
            Courtesy("hello", ("Hola", "Buenos días", "Buenas tardes", "Hola, buenas"), expected=True),
            Courtesy("yes", ("Sí", "Sí, por favor", "Claro"), expected=True),
            Courtesy("no", ("No", "No, gracias"), ends_call=True),
            Courtesy("thanks", ("Gracias", "Muchas gracias"), expected=True),
            Courtesy("goodbye", ("Adiós", "Hasta luego"), ends_call=True),
            Courtesy("hours", ("¿Qué horario tienen?",)),
            Courtesy("a person", ("¿Puedo hablar con alguien?",)),
            Courtesy("a moment", ("Espere un momento",)),
            Courtesy("say again", ("¿Cómo?",)),
        ),
    }
)


def missing_courtesies(agent: Agent) -> Iterator[Finding]:
    """What callers say and no route knows."""
    known = {plain_words(example) for route in agent.routes for example in route.examples}
    missing = [
        courtesy.said[0]
        for courtesy in COURTESIES[agent.language]
        if courtesy.expected and not known & {plain_words(text) for text in courtesy.said}
    ]
    if missing:
        yield Finding(
            "warning",
            "routes",
            f"none has an example such as {' or '.join(map(repr, missing))}: who says that goes wherever the nearest "
            "example is, and is hung up on if it is a goodbye; add it to a route of kind 'say'",
        )
    if not any(route.kind == "farewell" for route in agent.routes):
        what = "none is of kind 'farewell': a caller who is done is answered as if he had asked for something; add one"
        yield Finding("warning", "routes", what)
