"""Names with which callers begin, unasked: "Hi, Paula Hart, I have a table for tonight". Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.slots.date_words import month_words, weekday_words
from pipeline.slots.numbers import number_words
from pipeline.slots.types import Language
from pipeline.slots.wording import CLOSING, COURTESY, Heard, phrase

_GREETING: Mapping[Language, str] = {
    "en": rf"{COURTESY['en']}|(?:good |a good )?(?:morning|afternoon|evening|day)|hey|hiya|howdy|greetings|there|again"
    r"|(?:to )?(?:you|everyone|all)|thank you|thanks|sorry|excuse me|how are you(?: doing)?(?: today)?",
    "es": rf"{COURTESY['es']}|(?:muy )?buen(?:as?|os)(?: dias| tardes| noches)?|buen dia|que tal|gracias|disculpe"
    r"|perdon|perdone|oiga|como esta",
}
_HEAD: Mapping[Language, re.Pattern[str]] = {
    language: re.compile(rf"[\s,.;:!?¿¡\-]*(?:(?:{words.replace(' ', r'[ ,]+')})(?!['\w])[\s,.;:!?¿¡\-]*)*")
    for language, words in _GREETING.items()
}
_PARTICLE: Mapping[Language, str] = {
    "en": r"(?:van|von|de|da|di|la|der|den|bin|al|el|du|ter)",
    "es": r"(?:de|la|las|los|del|y|e|da|von|van)",
}
_CAPITAL = r"[^\W\d_a-zà-öø-ÿ](?:[^\W\d_]|['’\-](?=[^\W\d_]))+"
_NAME: Mapping[Language, re.Pattern[str]] = {
    language: re.compile(rf"{_CAPITAL}(?: (?:{particle} )*(?:{_CAPITAL}|[A-Z]\.?(?= )))*")
    for language, particle in _PARTICLE.items()
}
_ANNOUNCED: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r" (?:here|speaking|calling)\b"),
    "es": re.compile(r" (?:al habla|al aparato|por aqui)\b"),
}
"""Behind the name of who calls, even if it is a single word."""
_STOP = re.compile(r"\s*[,.;]\s+[¿¡]*")
_NOBODYS: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        r"(?:and |or )?(?:is|are|was|were|does|do|did|has|have|can|could|will|would)"
        r" (?:he|she|they|it|that|this|there)\b"
        r"|(?:right|correct|isn't it|is that (?:you|right))\b|how (?:much|many|long)\b|(?:please )?connect me\b"
        r"|(?:do|can|could|would|will) you (?:\w+ )?(?:that|those|these|it|them|there|one|ones)\b"
        r"|(?:it(?!'s| is| was)|they|those|these)\b|(?:my|our) \w+,"
    ),
    "es": re.compile(
        r"(?:y |o )?(?:esta|estan|es|son|tiene|puede) (?:el|ella|ellos|eso|ahi)\b|verdad\b|no\?"
        r"|cuant[oa]s?\b|(?:mi|nuestr[oa]) \w+,"
    ),
}
"""What follows a name by which somebody or something else is asked for."""
_CLOSED: Mapping[Language, re.Pattern[str]] = {
    language: re.compile(rf"[\s,.;:!?]*(?:{closing}[\s,.;:!?]*)*$") for language, closing in CLOSING.items()
}
_BEGINS_NONE = phrase(
    r"new|north(?:ern)?|south(?:ern)?|east(?:ern)?|west(?:ern)?|san|santa|saint|st|los|las|el|la|fort|port|mount|lake"
    r"|great|grand|long|little|big|hong|costa|puerto|buenos|nuev[oa]|united|estados|rio|cape|palm|blue|red|black|golden"
    r"|silver|german|merry|happy|feliz|felices|prosper[oa]|holy|oh|my|our|dear|mister|mr|mrs|ms|miss|dr|doctora?"
    r"|nurse|professor|officer|captain|sir|senora?|senorita|srt?a?|don|dona|ford|honda|toyota|nissan|subaru|mazda"
    r"|hyundai|kia|volkswagen|bmw|audi|lexus|acura|jeep|dodge|chevy|chevrolet|gmc|buick|cadillac|tesla|volvo|fiat|seat"
    r"|renault|peugeot|citroen|skoda|opel|chrysler|mitsubishi|porsche|land|american|delta|apple|google|amazon|uber"
    r"|general|royal|national|first|real|central|main|check|semana|noche|reyes|ano|dia|virgen|dios|muchas|quick|bad|emergency"
    r"|front|human|customer|root|wisdom|deep|chicken|super|pastor|atencion|nobody|somebody|someone|anybody|anyone|still|right|mom|mum|dad|just|only|every\w*|some|any|another|other|both"
    r"|most|many|all|no|not|what|when|where|who|why|how|which|is|are|do|does|did|can|could|should|may i|let|let's"
)
_HOLDS_NONE = phrase(
    r"christmas|easter|thanksgiving|halloween|hanukkah|eve|year|years|new|holidays?|day|days|birthday|navidad|pascuas?"
    r"|magos|fiestas|santa claus|city|town|street|avenue|road|boulevard|beach|heights|springs|valley|square|plaza|mall"
    r"|airport|station|county|bridge|states|kingdom|york|jersey|mexico|angeles|francisco|vegas|texas|california|florida"
    r"|garage|dental|dentists?|dentistry|clinic|clinica|salon|shop|store|auto|autos|motors?|repairs?|services?|servicio"
    r"|cent(?:er|re|ro)|hospital|vets?|veterinary|veterinari[oa]|animals?|pets?|mascotas|grooming|restaurante?|cafe|bar"
    r"|grill|pizza|pizzeria|bistro|kitchen|hotel|hostal|inn|bank|banco|insurance|seguros|healthcare|health|care"
    r"|medical|pharmacy|farmacia|logistics|shipping|express|delivery|freight|parcels?|paquetes|company|inc|llc|ltd|corp"
    r"|group|office|oficina|school|university|college|church|gym|studio|spa|hair|beauty|barbershop|taller|peluqueria"
    r"|panaderia|tienda|smiles?|hospitals?|associates|partners|brothers|sons|hermanos|solutions|systems|team|support"
    r"|benz|civic|corolla|camry|focus|rover|retriever|labrador|terrier|bulldog|poodle|spaniel|dane|christ|god|dios|lord"
    r"|goodness|heavens|moly|cow|luck|news|question|questions|problem|trouble|emergency|urgente?|oil|engine|tires?"
    r"|brakes?|car|light|change|appointment|cita|reservation|reserva|booking|table|order|pedido|tracking|number"
    r"|numero|check|check-?up|cleaning|limpieza|filling|crown|braces|aligners|tooth|teeth|canal|booster|haircut|moment|minute|second|maps|eats|pay|medicare|visa"
    r"|mastercard|paypal|whatsapp|facebook|instagram|yelp|please|thanks|thank|you|me|we|us|it|here|there"
    r"|morning|afternoon|evening|night|tonight|tomorrow|today|manana|tarde|tardes|noche|noches|hoy|dias?|semana"
)


def head_name(heard: Heard) -> tuple[int, int] | None:
    """Where a name stands with which an utterance begins, greetings left aside; None if it begins otherwise.

    Two words or more with capitals, a stop behind them and then something in small letters; one is enough behind a
    greeting and before "here" or "speaking".
    """
    opening = _HEAD[heard.language].match(heard.flat)
    start = opening.end() if opening else 0
    greeted = start > 0
    if greeted and not re.search(r"[,.;:!?\-]\s*$", heard.flat[:start]):
        return None  # "Hello Smile Studio" greets.
    match = _NAME[heard.language].match(heard.text, start)
    if match is None or _nobody(heard.flat[start : match.end()], heard.language):
        return None
    announced = _ANNOUNCED[heard.language].match(heard.flat, match.end())
    stop = _STOP.match(heard.flat, announced.end() if announced else match.end())
    more = stop.end() if stop else len(heard.flat)
    if announced is not None and (stop is not None or more == len(heard.flat)):
        return (start, match.end()) if greeted or " " in match[0] else None
    rest = heard.text[more:]
    asks = _NOBODYS[heard.language].match(heard.flat, more) or _CLOSED[heard.language].match(heard.flat, more)
    if " " not in match[0] or asks or not re.search(r"\b[^\W\d_A-Z][^\W\d_A-Z]", rest):
        return None
    return start, match.end()


def _nobody(words: str, language: Language) -> bool:
    """Whether words with capitals name no person: a feast, a place, a business, a make of car, a day."""
    days = {*weekday_words(language), *month_words(language)}
    first, *others = re.findall(r"[^\W_]+(?:['\-][^\W_]+)*", words)
    numbers = number_words(language)
    return (
        first.endswith("'s")
        or _BEGINS_NONE.match(words) is not None
        or _HOLDS_NONE.search(words) is not None
        or any(word in days or word in numbers for word in others)
        or (first in weekday_words(language) and bool(others))
        or first in numbers
    )
