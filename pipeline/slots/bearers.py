"""Whose name it is: a pet's, the caller's or anybody's, and the words that lead up to each. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from pipeline.slots.types import Language
from pipeline.slots.wording import Heard, fold, phrase

Bearer = Literal["pet", "caller", "person"]
"""Who has a name that a variable holds; 'person': whoever it is for, the caller or not."""

_PET: Mapping[Language, str] = {
    "en": (
        r"(?:pet|animal|dog|doggy|puppy|pup|cat|kitten|kitty|rabbit|bunny|hamster|gerbil|guinea pig|chinchilla|ferret"
        r"|rat|mouse|hedgehog|bird|parrot|parakeet|budgie|cockatiel|canary|hen|goat|pig|horse|pony|mare|foal|donkey"
        r"|turtle|tortoise|snake|lizard|gecko|iguana|bearded dragon|hound|greyhound|retriever|lab|labrador|labradoodle"
        r"|beagle|poodle|terrier|bulldog|shepherd|spaniel|dachshund|chihuahua|husky|collie|corgi|pug|boxer|rottweiler"
        r"|mastiff|schnauzer|shih tzu|mutt|tabby)"
    ),
    "es": (
        r"(?:mascota|animal|perr(?:it)?[oa]|cachorr(?:it)?[oa]|gat(?:it)?[oa]|conej(?:it)?[oa]|hamster|cobaya|cuy"
        r"|huron|pajar(?:it)?o|lor[oa]|periquito|canario|cotorra|caballo|yegua|poni|burr[oa]|tortuga|serpiente|iguana"
        r"|cabra|gallina|galg[oa]|podenc[oa]|labradora?|caniche|beagle|chihuahua|bulldog|pastor aleman)"
    ),
}
_KIN: Mapping[Language, str] = {
    "en": (
        r"(?:wife|husband|spouse|partner|girlfriend|boyfriend|fiancee?|son|daughter|kid|child|boy|girl|mother|mom|mum"
        r"|father|dad|brother|sister|aunt|uncle|cousin|niece|nephew|grand(?:son|daughter|mother|father|ma|pa)"
        r"|(?:mother|father|brother|sister|son|daughter)-in-law|friend|neighbou?r|roommate)"
    ),
    "es": (
        r"(?:mujer|esposa|marido|esposo|pareja|novi[oa]|prometid[oa]|hij[oa]|nin[oa]|madre|mama|padre|papa|herman[oa]"
        r"|ti[oa]|prim[oa]|sobrin[oa]|niet[oa]|abuel[oa]|suegr[oa]|cunad[oa]|yerno|nuera|amig[oa]|vecin[oa])"
    ),
}
_MY_KIN: Mapping[Language, str] = {
    "en": (
        rf"(?:my|our) (?:little |older |younger |youngest |oldest )?{_KIN['en']}"
        r"(?:'s name is| is called| called| named)?"
    ),
    "es": rf"(?:mi|nuestr[oa]) {_KIN['es']}(?: pequen[oa]| mayor)?(?: que)?(?: se llama)?",
}
"""Before the name of somebody else whom it is for."""
_IS_CALLED = r"(?:'s name(?:'s| is)?|(?:'s| is)? (?:called|named))"
_MY_PET: Mapping[Language, str] = {
    "en": (
        rf"(?:my|our|his|her|their)(?: [\w']+){{0,2}}? {_PET['en']}{_IS_CALLED}?"
        rf"|(?:the|an?|this|one|another)(?: [\w']+){{0,2}}? {_PET['en']}{_IS_CALLED}"
    ),
    "es": (
        rf"(?:mi|nuestr[oa])(?: viej[oa])? {_PET['es']}(?: viej[oa]| pequen[oa]| blanc[oa]| negr[oa]| persa| siames)?"
        r"(?:(?: que)? se llama| llamad[oa])?"
        rf"|(?:el|la|una?|est[ea]|otr[oa]) {_PET['es']}(?:(?: que)? se llama| llamad[oa])"
        rf"|nombre de(?:l| la| mi| nuestr[oa]) {_PET['es']}(?: es)?"
    ),
}
"""Before the name of an animal."""
_THEIRS: Mapping[Language, str] = {
    "en": (
        r"(?P<theirs>(?:her|his|its|their) (?:full )?name(?:'s| is|s)|(?:he|she|it)(?:'s| is) (?:called|named)"
        r"|we call (?:him|her|it))"
    ),
    "es": r"(?P<theirs>su nombre(?: completo)? es|se llama)",
}
_THEIRS_OF_PEOPLE: Mapping[Language, str] = {
    "en": r"(?P<theirs>(?:her|his) (?:full )?name(?:'s| is|s)|(?<='s\s)name(?:'s| is))",
    "es": r"(?P<theirs>su nombre(?: completo)? es|se llama)",
}
"""Before the name of whoever was spoken of last."""
_ANSWERED: Mapping[Language, str] = {
    "en": (
        r"that would be|that'd be|spelled|spelt|for|(?:it's |it is |that's |that is )?(?:just|only)|it's|it is|its"
        r"|that's|that is|name"
    ),
    "es": r"es para|para|(?:es )?(?:solo|solamente)|es|nombre",
}
"""Before any name that was asked for."""
_ASKED: Mapping[Language, str] = {
    "en": (
        r"(?P<theirs>(?:her|his|their) (?:(?:first|last|full|family|middle) )?name(?:'s| is|s| would be)?"
        r"|(?:he|she)(?:'s| is) (?:called|named))"
        r"|(?:my|the|your) (?:(?:first|last|full|family|middle) )?(?:name|surname)(?:'s| is|s| would be)?"
        r"|(?:the )?(?:owner|caller|customer|client)(?:'s name)?(?: is)?"
        r"|(?:first|last|family) name(?: is)?|name's|name is|call me|(?P<introduces>this is|i am|i'm|im)"
        r"|under|(?:book|put) (?:it|me|that)(?: down)? under"
        rf"|under the name(?: of)?|speaking with|you're speaking (?:to|with)|{_ANSWERED['en']}"
    ),
    "es": (
        r"(?P<theirs>su (?:nombre|apellido)(?: completo)?(?: es)?|se llama)"
        r"|(?:mi|el) (?:nombre|apellido)(?: completo)?(?: es)?|me llamo"
        r"|(?:el |la )?(?:duen[oa]|client[ea]|titular)(?: es)?"
        rf"|a nombre de(?:(?: la| el)(?= senor))?|soy|habla|le habla|apellido|{_ANSWERED['es']}"
    ),
}
_ASKED_OF_PETS: Mapping[Language, str] = {
    "en": (
        r"(?:his|her|its|their|the) (?:full )?name(?:'s| is|s| would be)?|name's|name is"
        r"|(?:he|she|it)(?:'s| is) (?:called|named)|we call (?:him|her|it)|(?:he|she|it) (?:goes by|answers to)"
        r"|called|named"
        rf"|{_MY_PET['en']}|(?P<weak>(?:he|she)(?:'s| is)|(?:my|our|the)(?: [\w']+){{0,2}}? {_PET['en']}(?:'s| is)?)"
        rf"|{_ANSWERED['en']}"
    ),
    "es": (
        r"(?:el|su) nombre(?: completo)?(?: es)?|se llama|(?:lo|la|le) (?:llamamos|decimos)"
        rf"|(?:el )?{_MY_PET['es']}|(?P<weak>(?:el|la|mi|nuestr[oa]) {_PET['es']}(?: es)?|es)|{_ANSWERED['es']}"
    ),
}
_OWN: Mapping[Language, str] = {
    "en": (
        r"(?P<own>(?:my|the) (?:full )?name(?:'s| is|s)|(?P<introduces>this is|i am|i'm)"
        r"|under(?: the name(?: of)?)?|in the name of|named me"
        r"|(?:owner|caller|customer|client)'s name(?:'s| is)"
        r"|(?<!'s\s)(?<!her\s)(?<!his\s)(?<!its\s)(?<!their\s)name(?:'s| is))"
    ),
    "es": (
        r"(?P<own>(?:mi|el) nombre(?: completo)? es|me llamo|llamarme|a nombre de|(?P<introduces>soy)|le habla|habla)"
    ),
}
_PLAINLY_OWN: Mapping[Language, str] = {
    "en": r"(?:my|the) (?:full )?name(?:'s| is|s)|under(?: the name(?: of)?)?|in the name of|named me",
    "es": r"(?:mi|el) nombre(?: completo)? es|me llamo|llamarme|a nombre de",
}
_FOR: Mapping[Language, str] = {
    "en": rf"for {_MY_KIN['en']}|for",
    "es": rf"para {_MY_KIN['es']}|para",
}
_IS_MINE: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(r"(?:\s+is|'s) (?:my|the) (?:(?:first|last|full) )?name\b"),
    "es": re.compile(r"\s+es mi (?:nombre|apellido)\b"),
}
_IS_A_PETS: Mapping[Language, re.Pattern[str]] = {
    "en": re.compile(
        rf"(?:\s+is|'s) (?:his|her|its|(?:the|my|our) {_PET['en']}'s) name\b"
        r"|'s (?:owner|mom|mum|mommy|mummy|dad|daddy|human)\b"
    ),
    "es": re.compile(rf"\s+es (?:su nombre|el nombre de(?:l| la| mi| nuestr[oa]) {_PET['es']})\b"),
}
_NAMED: Mapping[Language, re.Pattern[str]] = {
    language: phrase(rf"(?P<pet>{_PET[language]}s?)|{_KIN[language]}") for language in _PET
}
_IN_DESCRIPTIONS = phrase(
    rf"(?P<pet>(?:{_PET['en']}|{_PET['es']})s?)(?! owner)"
    r"|callers?|calling|owner|customer|client|your|quien llama|llamante|duen[oa]|propietari[oa]|cliente|titular"
)
_OF_ANOTHER = re.compile(r"\b\w+'s (?!(?:\w+ )?name\b)")
"""Someone to whom the one described belongs ("the caller's dog")."""
_FEW_CHARACTERS = 40
"""Whose name it is stands at the head of a description."""


@dataclass(frozen=True, slots=True)
class LeadIns:
    """What stands beside names of one bearer."""

    asked: re.Pattern[str]
    """Before a name that answers; only before one with a capital as `weak`, of somebody spoken of as `theirs`."""
    unasked: re.Pattern[str]
    """Before a name that nobody asked for: the caller's as `own`, or as `introduces` ("I'm")."""
    plain: re.Pattern[str]
    """Before nothing but a name, wherever it stands in an answer."""
    behind: re.Pattern[str]
    """Behind one that nobody asked for."""


@lru_cache(maxsize=8)
def lead_ins(language: Language, bearer: Bearer) -> LeadIns:
    """What leads up to a bearer's names."""
    own, theirs, kin = _PLAINLY_OWN[language], _THEIRS_OF_PEOPLE[language], _MY_KIN[language]
    match bearer:
        case "pet":
            asked, behind = _ASKED_OF_PETS[language], _IS_A_PETS[language]
            plain = f"{_MY_PET[language]}|{_THEIRS[language]}"
            unasked = f"{plain}|{'for' if language == 'en' else 'para'}"
        case "caller":
            asked, behind = _ASKED[language], _IS_MINE[language]
            unasked = f"{_OWN[language]}|{_FOR[language]}"
            plain = f"{own}|{kin}"
        case "person":
            asked, behind = _ASKED[language], _IS_MINE[language]
            unasked = f"{_OWN[language]}|{theirs}|{_FOR[language]}"
            plain = f"{own}|{theirs}|{kin}"
    return LeadIns(phrase(asked), phrase(unasked), phrase(plain), behind)


@lru_cache(maxsize=256)
def bearer_of(description: str) -> Bearer:
    """Whose name a variable so described holds."""
    head = _OF_ANOTHER.sub("", fold(description))[:_FEW_CHARACTERS]
    match = _IN_DESCRIPTIONS.search(head)
    if match is None:
        return "person"
    return "pet" if match["pet"] else "caller"


def spoken_of(heard: Heard, place: int) -> Bearer | None:
    """Of whom somebody speaks who says "his name" there: of an animal or a person named before; None if of neither."""
    said = list(_NAMED[heard.language].finditer(heard.flat, 0, place))
    if not said:
        return None
    return "pet" if said[-1]["pet"] else "person"
