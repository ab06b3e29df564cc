"""Whether a caller who is offered a few things asks for others. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date

from pipeline.slots.dates import dates_said
from pipeline.slots.types import Language, ReadingContext
from pipeline.slots.wording import hear, phrase, refused

_OTHERS: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"(?:what|anything|something|any|nothing) (?:else|other|different|later|earlier|sooner|before that)"
        r"|what (?:other|more)"
        r"|(?:any|some|more|other|different|all the) (?:other )?"
        r"(?:times?|days?|dates?|options?|ones?|slots?|choices?|openings?|appointments?)"
        r"|none of (?:those|these|them|that)|neither(?: of (?:those|these|them))?|(?:don't|do not) (?:like|want) any"
        r"|(?:those|these|they) (?:all )?(?:don't|do not|won't) (?:work|suit|fit)|is that (?:all|it)"
        r"|that's all you have|what do you have after that|(?:later|earlier|sooner) than that|(?:got|have) any more"
    ),
    "es": phrase(
        r"(?:algo|alguna?|algun|que) (?:mas|otr[oa]|otra cosa|distint[oa])"
        r"|otr[oa]s? (?:horas?|dias?|fechas?|opcion(?:es)?|huecos?|citas?|horarios?)"
        r"|ningun[oa](?: de (?:es[oa]s|est[oa]s|ell[oa]s))?|mas (?:opciones|horas|dias|huecos)"
        r"|(?:algo )?(?:mas tarde|mas temprano|mas pronto|antes)|no me (?:va|viene) bien ningun[oa]"
        r"|es todo lo que (?:hay|tiene)|que mas (?:hay|tiene)"
    ),
}
_ANOTHER_DAY: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(r"(?:any|an|some) ?other (?:day|date)|(?:a )?different (?:day|date)|(?:all|the) other days"),
    "es": phrase(r"(?:cualquier )?otr[oa] (?:dia|fecha)|(?:los )?(?:demas|otros) dias"),
}


def asks_for_others(utterance: str, language: Language) -> bool:
    """Whether none of what was named is wanted, or something besides is asked for ("anything else?")."""
    return _OTHERS[language].search(hear(utterance, language).flat) is not None


def wants_another_day(utterance: str, day: str, context: ReadingContext) -> bool:
    """Whether another day than this one (YYYY-MM-DD) is asked for, whichever."""
    heard = hear(utterance, context.language)
    unwanted = refused(dates_said(heard, context.today), heard)
    named = any(one.value.fits(date.fromisoformat(day)) for one in unwanted)
    return named or _ANOTHER_DAY[heard.language].search(heard.flat) is not None
