"""How much of an utterance is an answer to what a node asks. Pure."""

from __future__ import annotations

from pipeline.slots.little_else import little_else
from pipeline.slots.reading import Reading, ReadingContext
from pipeline.slots.types import LIKELY, Language
from pipeline.slots.variables import Variable
from pipeline.state import CallState
from pipeline.workflow.definition import AnyNode, AskNode, ConfirmNode, TalkNode
from pipeline.workflow.talk_node import talk_of
from pipeline.workflow.wording import Wording

FEW_WORDS = 3
"""So many words of an answer may be left unread ("that's right", "I think") for it to be surely one."""
YES_NO = Variable(type="yes_no")


def asked(state: CallState, node: AnyNode | None, words: Wording) -> tuple[Variable, ReadingContext] | None:
    """What the node waits to be told; None: nothing, or anything."""
    match node:
        case AskNode():
            variable = words.variable(node.variable)
            return variable, words.context(state, variable)
        case ConfirmNode():
            return YES_NO, words.plain()
        case TalkNode() if talk_of(state).calling:
            return YES_NO, words.plain()
    return None


def is_sure(variable: Variable, reading: Reading) -> bool:
    """Never of names and texts: anything may be one."""
    return variable.type not in ("name", "text") and reading.confidence >= LIKELY


def leaves_little(reading: Reading, utterance: str, language: Language) -> bool:
    """Whether it was read in all but a few of the words."""
    few = len(utterance.split()) - len(reading.words.split()) <= FEW_WORDS
    return few or little_else(utterance, (reading.words,), language)
