"""Opening hours as the agent says them: of the week, of a date, of now. True by construction: made of `Hours` alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pipeline.feasts import FEASTS, Feast
from pipeline.hours import CLOSED, WEEKDAYS, Hours, minute_at
from pipeline.slots import date_words
from pipeline.slots.dates import spoken_date
from pipeline.slots.spans import DAY_MIN, Span
from pipeline.slots.times import clock_words
from pipeline.slots.types import Language
from pipeline.slots.variables import Variable

HOURS_FACT = "hours"
"""Of the fact that stands for them; a fact of one's own with this id takes its place."""
HOURS_QUESTIONS: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "What are your opening hours?",
        "When are you open?",
        "What time do you open?",
        "When do you close?",
        "How late are you open tonight?",
        "Are you open now?",
        "Are you open today?",
        "Are you open on Saturday?",
        "What time do you close on Sunday?",
        "Are you open on weekends?",
        "Are you open at Christmas?",
        "Are you open on public holidays?",
        "Are you open on the third of May?",
        "Are you closed on Monday?",
    ),
    "es": (
        "¿Cuál es su horario?",
        "¿Cuándo abren?",
        "¿A qué hora abren?",
        "¿A qué hora cierran?",
        "¿Hasta qué hora están abiertos esta noche?",
        "¿Están abiertos ahora?",
        "¿Abren hoy?",
        "¿Abren el sábado?",
        "¿A qué hora cierran el domingo?",
        "¿Abren los fines de semana?",
        "¿Abren en Navidad?",
        "¿Abren los festivos?",
        "¿Abren el tres de mayo?",
        "¿Cierran los lunes?",
    ),
}
"""Ways to ask for it."""
LONGEST_WEEK = 300
"""Characters of a week's hours beyond which nobody could keep them in mind."""
_YEAR_DAYS = 366
_NOON = DAY_MIN // 2
_RUN = 3
"""So many days in a row are said as 'Monday to Wednesday'."""
_WEEK_DAYS = len(WEEKDAYS)


@dataclass(frozen=True, slots=True)
class _Words:
    """What is said in one language."""

    week: str
    day: str
    now: str
    closed: str
    closed_now: str
    over: str
    again: str
    opening: str
    differs: str
    always: str
    span: str
    every_day: str
    run: str
    conjunction: str
    today: str
    tomorrow: str
    closed_on: str
    public: str


_WORDS: Mapping[Language, _Words] = {
    "en": _Words(
        week="We are open {days}.",
        day="{day} we are open {spans}.",
        now="We are open now, until {time}.",
        closed="{day} we are closed.",
        closed_now="We are closed now.",
        over="We are closed for today.",
        again="We open again {opening}.",
        opening="{day} at {time}",
        differs="Our hours differ from day to day. For which day would you like to know them?",
        always="around the clock",
        span="from {start} to {end}",
        every_day="every day",
        run="{first} to {last}",
        conjunction="and",
        today="today",
        tomorrow="tomorrow",
        closed_on="We are closed on {days}.",
        public="We are closed on public holidays.",
    ),
    "es": _Words(
        week="Abrimos {days}.",
        day="{day} abrimos {spans}.",
        now="Ahora estamos abiertos, hasta {time}.",
        closed="{day} estamos cerrados.",
        closed_now="Ahora estamos cerrados.",
        over="Hoy ya hemos cerrado.",
        again="Volvemos a abrir {opening}.",
        opening="{day} a {time}",
        differs="El horario cambia de un día a otro. ¿Para qué día lo quiere saber?",
        always="las veinticuatro horas",
        span="de {start} a {end}",
        every_day="todos los días",
        run="de {first} a {last}",
        conjunction="y",
        today="hoy",
        tomorrow="mañana",
        closed_on="Estamos cerrados {days}.",
        public="Estamos cerrados los días festivos.",
    ),
}


class SpokenHours:
    """Those of one business, in one language."""

    def __init__(self, hours: Hours, language: Language) -> None:
        self._hours = hours
        self._language = language
        self._words = _WORDS[language]

    def week(self) -> str:
        """The usual week."""
        groups: dict[tuple[Span, ...], list[int]] = {}
        for weekday in range(_WEEK_DAYS):
            if spans := self._hours.of_weekday(weekday):
                groups.setdefault(spans, []).append(weekday)
        days = [f"{self._days(weekdays)} {self._spans(spans)}" for spans, weekdays in groups.items()]
        said = self._words.week.format(days=self._joined(days, ","))
        return said if days and len(said) <= LONGEST_WEEK else self._words.differs

    def usually(self, weekday: int) -> str:
        """A day of the usual week: "on Saturdays"."""
        name = self._name(weekday)
        lead = f"On {name}s" if self._language == "en" else f"Los {_plural_es(name)}"
        return self._on(lead, self._hours.of_weekday(weekday))

    def on_date(self, day: date, now: datetime) -> str:
        """A date."""
        return self._today(now) if day == now.date() else self._called(self._named(day, now.date()), day)

    def on_feast(self, feast: Feast, day: date) -> str:
        """A date that was called by its name."""
        name = feast.spoken[self._language]
        return self._called(f"on {name}" if self._language == "en" else name, day)

    def on_coming(self, day: date) -> str:
        """A date that was called by its weekday."""
        name = self._name(day.weekday())
        return self._called(f"on {name}" if self._language == "en" else f"el {name}", day)

    def now(self, now: datetime) -> str:
        """The present moment."""
        found = self._hours.span_at(now.date(), minute_at(now))
        if found is None:
            return self._with_next(self._words.closed_now, now)
        day, span = found
        if span.end - span.start == DAY_MIN and self._hours.is_open(day + timedelta(days=1), 0):
            return self.on_date(day, now)
        return self._words.now.format(time=self._time(span.end))

    def closed_days(self) -> str | None:
        """The days of the usual week on which it is closed; None if there are none."""
        closed = [weekday for weekday in range(_WEEK_DAYS) if not self._hours.of_weekday(weekday)]
        days = self._days(closed).removeprefix("on ")
        return self._words.closed_on.format(days=days) if closed else None

    def holidays(self, now: datetime) -> str | None:
        """Public holidays: whether it keeps them, else the days with a name on which it is closed; None: it says
        nothing of either."""
        ahead = (now.date() + timedelta(days=days) for days in range(_YEAR_DAYS))
        kept = [day for day in ahead if self._hours.is_holiday(day)]
        if kept and not any(self._hours.on(day) for day in kept):
            return self._words.public
        if kept:
            return self.on_date(kept[0], now)
        keys = [key for key, opening in self._hours.exceptions.items() if opening == CLOSED]
        feasts = [feast for feast in (FEASTS.get(key) or _feast_on(key) for key in keys) if feast is not None]
        if not feasts:
            return None
        names = dict.fromkeys(feast.spoken[self._language] for feast in feasts)
        return self._words.closed_on.format(days=self._joined(list(names)))

    def next_opening(self, now: datetime) -> str:
        """'Tomorrow at eight in the morning'; empty if it does not open within a year."""
        opens = self._hours.next_opening(now)
        if opens is None:
            return ""
        day = self._named(opens.date(), now.date())
        comma = "," if "," in day else ""
        opening = self._words.opening.format(day=f"{day}{comma}", time=self._time(minute_at(opens)))
        return opening.replace(" a el ", " al ")

    # -- parts -----------------------------------------------------------------------------------------------------

    def _today(self, now: datetime) -> str:
        spans = self._hours.on(now.date())
        if spans and spans[-1].end <= minute_at(now):
            return self._with_next(self._words.over, now)
        said = self._on(self._words.today.capitalize(), spans)
        return said if spans else self._with_next(said, now)

    def _with_next(self, said: str, now: datetime) -> str:
        opening = self.next_opening(now)
        return f"{said} {self._words.again.format(opening=opening)}" if opening else said

    def _called(self, name: str, day: date) -> str:
        comma = "," if "," in name else ""
        return self._on(f"{name[0].upper()}{name[1:]}{comma}", self._hours.on(day))

    def _on(self, lead: str, spans: Sequence[Span]) -> str:
        if not spans:
            return self._words.closed.format(day=lead)
        return self._words.day.format(day=lead, spans=self._spans(spans))

    def _named(self, day: date, today: date) -> str:
        """'Today', 'on Saturday', 'on Friday, the first of January'."""
        days = (day - today).days
        if days in (0, 1):
            return self._words.tomorrow if days else self._words.today
        if 0 < days < _WEEK_DAYS:
            name = self._name(day.weekday())
            return f"on {name}" if self._language == "en" else f"el {name}"
        said = spoken_date(Variable(type="date"), day.isoformat(), self._language, today)
        return f"on {said}" if self._language == "en" else said

    def _time(self, minute: int) -> str:
        return " ".join(clock_words(minute % DAY_MIN, self._language)).rstrip()

    def _spans(self, spans: Iterable[Span]) -> str:
        return f" {self._words.conjunction} ".join(self._span(span) for span in spans)

    def _span(self, span: Span) -> str:
        """'From eight to five': the parts of the day are said where they would not be taken for granted."""
        if span.end - span.start == DAY_MIN:
            return self._words.always
        (start, morning), (end, evening) = (
            clock_words(minute % DAY_MIN, self._language) for minute in (span.start, span.end)
        )
        if span.start <= _NOON <= span.end and span.end - span.start < _NOON:
            morning = evening = ""
        elif evening and span.start // _NOON == span.end // _NOON:
            morning = ""
        said = self._words.span.format(start=f"{start} {morning}".rstrip(), end=f"{end} {evening}".rstrip())
        return said.replace("de el ", "del ").replace(" a el ", " al ")

    def _days(self, weekdays: Sequence[int]) -> str:
        """'Monday to Friday', 'on Monday and Wednesday'."""
        if len(weekdays) == _WEEK_DAYS:
            return self._words.every_day
        runs: list[list[int]] = []
        for weekday in weekdays:
            if runs and runs[-1][-1] == weekday - 1:
                runs[-1].append(weekday)
            else:
                runs.append([weekday])
        said: list[str] = []
        for run in runs:
            if len(run) >= _RUN:
                first, last = (self._name(weekday) for weekday in (run[0], run[-1]))
                said.append(self._words.run.format(first=first, last=last))
            else:
                said += [
                    self._name(each) if self._language == "en" else f"los {_plural_es(self._name(each))}"
                    for each in run
                ]
        on = "on " if self._language == "en" and len(runs[0]) < _RUN else ""
        return f"{on}{self._joined(said)}"

    def _name(self, weekday: int) -> str:
        name = date_words.WEEKDAYS[self._language][weekday]
        return name.capitalize() if self._language == "en" else name

    def _joined(self, parts: Sequence[str], comma: str = "") -> str:
        if len(parts) < 2:
            return "".join(parts)
        return f"{', '.join(parts[:-1])}{comma} {self._words.conjunction} {parts[-1]}"


def _plural_es(weekday: str) -> str:
    return weekday if weekday.endswith("s") else f"{weekday}s"


def _feast_on(key: str) -> Feast | None:
    """The one that is on a date of every year ("12-25")."""
    return next(
        (feast for feast in FEASTS.values() if f"{feast.on(2026):%m-%d}" == key == f"{feast.on(2027):%m-%d}"), None
    )
