"""Callers who ask for a moment: "hang on a second", "let me look at my calendar", "un momentito"."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.slots.types import Language
from pipeline.slots.wording import Heard, hear, phrase

_TIMES: Mapping[Language, str] = {
    "en": r"sec|secs|seconds?|minutes?|mins?|moments?|mo|tick|bit",
    "es": r"segundos?|segundito|minutos?|minutito|momento|momentito|momentico|ratito|instante",
}
"""What they ask for."""
_FETCHED: Mapping[Language, str] = {
    "en": r"calendar|schedule|diary|planner|agenda|notes?|notebook|pen|pencil|paper|paperwork|papers|glasses|phone"
    "|wallet"
    r"|purse|card|computer|laptop|e-?mails?|letter|bill|invoice|receipt|label|box|slip|number|wife|husband|spouse"
    r"|partner"
    r"|boss|mother|mom|mum|father|dad|daughter|son|sister|brother|roommate",
    "es": r"agenda|calendario|horario|notas|boligrafo|lapiz|papel|papeles|gafas|lentes|telefono|movil|celular|cartera"
    r"|bolso|tarjeta|ordenador|computadora|correo|carta|factura|recibo|etiqueta|caja|numero|mujer|esposa|esposo|marido"
    r"|pareja|jefe|jefa|madre|mama|padre|papa|hija|hijo|hermana|hermano",
}
"""What or whom they want to look at, or to ask."""
_WAITING: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"(?:please )?(?:hold (?:on|up|the line)|hang on)(?: there)?"
        rf"(?: (?:for |just )*(?:a|one|two)(?: quick)? (?:{_TIMES['en']}))?"
        rf"|(?:please )?wait(?: up)?(?: (?:for |just )*(?:a|one)(?: quick)? (?:{_TIMES['en']}))?"
        r"|(?:(?:(?:(?:can|could|would) you )?(?:please )?(?:just )?give me|i(?:'ll| will)?(?: just)? need"
        r"|just) )?(?:just )?"
        rf"(?:a|one|two|half a|a couple(?: of)?|another|a few|a little)(?: quick| more)? (?:{_TIMES['en']})"
        r"(?: to (?:think|check|look|find (?:it|that|out)|see))?"
        r"|(?:please )?bear with me|be right back|i'll be right back|(?:don't|do not) hang up|stay on the line"
        r"|(?:i'm|i am)(?: just| still)? thinking|i(?: just)? (?:need|have) to think"
        rf"|(?:let me|(?:i'm|i am)|i(?:'ll| will| have to| need to| must)|i(?:'ll| will) have to)(?: just| quickly| go"
        rf"| gonna)?"
        r" (?:grab|grabbing|get|getting|find|finding|fetch|check|checking|look|looking|have a look|pull|pulling|open"
        r"|opening|ask|asking|talk|call|bring)(?: (?:at|up|in|on|with|to|for|out|quickly))*"
        rf" (?:my|a|the|our|some|that)(?: \w+)? (?:{_FETCHED['en']})(?: (?:up|out))?(?: (?:first|quickly|real quick))?"
        r"|let me(?: just| quickly)? (?:think|see|check|look|have a look|find (?:it|that|out))(?: (?:about|at) (?:it"
        r"|that))?"
    ),
    "es": phrase(
        r"(?:espere|espera|espereme|esperame|aguarde|aguarda|aguante|aguanta|permitame|permiteme|deme|dame)"
        rf"(?: (?:solo )?(?:un|unos|dos|medio))?(?: (?:{_TIMES['es']}))?"
        rf"|(?:solo |necesito )?(?:un|unos|dos|medio) (?:{_TIMES['es']})|momento|momentito|no cuelgue|no cuelgues"
        r"|ahora vuelvo|enseguida vuelvo|estoy pensando|lo estoy pensando"
        r"|(?:dejeme|dejame|voy a|tengo que|deje que|deja que)"
        r" (?:ver|mirar|consultar|buscar|revisar|comprobar|preguntar|preguntarle|preguntarselo|hablar|sacar|coger|traer"
        r"|mire|consulte|busque|revise|pregunte)(?: (?:en|con|a))* (?:mi|el|la|un|una|los|las|mis)"
        rf"(?: \w+)? (?:{_FETCHED['es']})(?: primero)?"
        r"|(?:dejeme|dejame|deje que|deja que)(?: lo)? (?:ver|pensar|pensarlo|mirar|mirarlo|comprobar|comprobarlo"
        r"|consultarlo|piense|vea|mire|compruebe)|a ver"
    ),
}
_AROUND: Mapping[Language, re.Pattern[str]] = {
    "en": phrase(
        r"yes|yeah|yep|sure|no|okay|ok|oh|ah|um+|uh+|erm?|hm+|mm+|well|so|and|right|alright|actually|sorry|i'm sorry"
        r"|please|thanks|thank you|sir|ma'am|madam|first|quickly|real quick|if you can|if you could|if you don't mind"
        r"|would you|could you|can you|just|yes please"
        r"|(?:that's |that is )?(?:a )?(?:good|fair) (?:question|point|idea)|fair enough"
    ),
    "es": phrase(
        r"si|no|vale|ok|okey|ah|ay|oh|eh+|em+|mm+|hm+|bueno|pues|y|claro|perdon|perdone|disculpe|por favor|gracias"
        r"|senor|senora|senorita|mire|mira|primero|si puede|que|tiene razon"
        r"|(?:es )?(?:una )?buena (?:pregunta|idea|observacion)"
    ),
}
"""What tells nothing beside it."""


def asks_to_wait(text: str, language: Language) -> bool:
    """Whether an utterance asks for a moment, and says nothing else: nothing is answered yet."""
    heard = hear(text, language)
    left = without_waiting(heard).flat
    if left == heard.flat:
        return False
    return re.search(r"\w", _AROUND[language].sub(" ", left)) is None


def without_waiting(heard: Heard) -> Heard:
    """With blanks where it asks for a moment, so that 'hang on a second' picks no second."""
    flat = _WAITING[heard.language].sub(lambda match: " " * len(match[0]), heard.flat)
    return Heard(heard.text, flat, heard.language)
