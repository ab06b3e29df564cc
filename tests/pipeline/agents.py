"""A small agent for logic tests."""

from models.settings import parse_settings
from pipeline.agent import Agent
from pipeline.context.counting import RoughCounter
from pipeline.context.of_agent import AgentContext

AGENT = parse_settings(
    """
name: Test desk
persona: You are a test desk.
voice: af_heart
stage_timeout_s: 4.0
lines:
  greeting: Hello, this is the test desk.
  fallback: [I don't have that information.]
  not_understood: ["Sorry, could you say that again?"]
  apology: Sorry, something went wrong.
  reprompt: Are you there?
  farewell: Goodbye.
  silence_farewell: I'll hang up now.
  too_long: This call has reached its limit.
  warning: Please stay polite.
  abuse_farewell: This call ends here.
routes:
  - {name: knowledge, kind: knowledge, examples: [what are your hours, how much is it, where are you]}
  - {name: booking, kind: flow, flow: book, examples: [book, appointment, reserve]}
  - {name: person, kind: person, examples: [a person, a human, somebody real]}
  - {name: never_mind, kind: cancel, examples: [never mind, forget it, cancel that]}
  - {name: farewell, kind: farewell, examples: [bye, goodbye, see you]}
facts:
  - {id: hours, text: We are open Monday to Friday from eight to five.}
  - {id: cleaning, text: A cleaning costs ninety dollars.}
variables:
  opening: {type: choice, options_from: openings}
  name: {type: name}
on_call: arrive
flows:
  arrive:
    start: find
    nodes:
      find: {do: call, tool: find_openings, save: {openings: openings}, go: end, failed: end}
  book:
    start: choose
    cancelled: All right, no booking.
    nodes:
      choose: {do: ask, variable: opening, say: ["I have {openings}."], go: who, exhausted: sorry}
      who: {do: ask, variable: name, say: ["What is your name?"], go: right, exhausted: sorry}
      right:
        do: confirm
        say: ["{opening} for {name}, right?"]
        variables: [opening, name]
        on_yes: make
        on_no: choose
        forget: [opening]
        exhausted: sorry
      make:
        do: call
        tool: book
        arguments: {opening: "{opening}", name: "{name}"}
        go: done
        rejected: {conflict: taken}
        failed: sorry
      taken: {do: set, forget: [opening], go: gone}
      gone: {do: say, say: "That is taken.", go: choose}
      done: {do: say, say: "Booked, {name}.", go: end}
      sorry: {do: say, say: "I could not book it.", go: end}
tools:
  find_openings: {description: what is free, effect: read, http: {url: openings}}
  book: {description: book it, effect: write, http: {method: POST, url: bookings}, filler: One moment while I book it.}
context: {turns: false, last: fact}
escalation:
  targets: {desk: {number: "+15550199", whisper: "Caller handed over, {reason}: {summary}"}}
  default: desk
  line: I'll put you through.
  frustration_words: [ridiculous]
""",
    Agent,
    "agents.py",
)
CONTEXT = AgentContext(AGENT, RoughCounter())
SPANISH = parse_settings(
    """
name: Mesa de pruebas
language: es
persona: Eres una mesa de pruebas.
voice: es/am_michael
stage_timeout_s: 4.0
lines:
  greeting: Hola, le atiende la mesa de pruebas.
  fallback: [No tengo esa información.]
  not_understood: ["¿Me lo puede repetir?"]
  apology: Lo siento, algo ha fallado.
  reprompt: ¿Sigue ahí?
  resumed: Se ha cortado.
  farewell: Adiós.
  silence_farewell: Voy a colgar.
  too_long: Tengo que terminar.
  warning: Por favor, con respeto.
  abuse_farewell: Termino la llamada.
routes:
  - {name: pregunta, kind: knowledge, examples: [qué horario tienen, cuánto cuesta, dónde están]}
  - {name: cita, kind: flow, flow: book, examples: [pedir cita, pedir hora, reservar]}
  - {name: persona, kind: person, examples: [una persona, alguien, un compañero]}
facts:
  - {id: hours, text: Abrimos de lunes a viernes.}
variables:
  opening: {type: choice, options_from: openings}
  name: {type: name}
on_call: arrive
flows:
  arrive:
    start: find
    nodes:
      find: {do: call, tool: find_openings, save: {openings: openings}, go: end, failed: end}
  book:
    start: choose
    nodes:
      choose: {do: ask, variable: opening, say: ["Tengo {openings}."], go: who, exhausted: sorry}
      who: {do: ask, variable: name, say: ["¿A qué nombre?"], go: done, exhausted: sorry}
      done: {do: say, say: "Reservado, {name}.", go: end}
      sorry: {do: say, say: "No he podido reservar.", go: end}
tools:
  find_openings: {description: lo que hay libre, effect: read, http: {url: openings}}
generation: {words: facts}
context: {turns: false, last: fact}
escalation:
  targets: {desk: {number: "+15550198", whisper: "Llamada: {summary}"}}
  default: desk
  line: Le paso con un compañero.
""",
    Agent,
    "agents.py",
)
"""The same in Spanish, smaller."""

KEYPAD_AGENT = AGENT.model_copy(
    update={
        "keys": {"1": "what are your hours"},
        "lines": AGENT.lines.model_copy(
            update={
                "keypad": "For our hours, press one.",
                "escalation": "A colleague will call you.",
                "filler": "One moment.",
            }
        ),
    }
)
