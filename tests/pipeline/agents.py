"""A small agent for logic tests."""

from models.settings import parse_settings
from pipeline.agent import Agent

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
routes:
  - {name: knowledge, kind: knowledge, examples: [what are your hours, how much is it, where are you]}
  - {name: booking, kind: booking, examples: [book, appointment, reserve]}
  - {name: farewell, kind: farewell, examples: [bye, goodbye, see you]}
facts:
  - {id: hours, text: We are open Monday to Friday from eight to five.}
  - {id: cleaning, text: A cleaning costs ninety dollars.}
booking:
  openings:
    - {day: Tuesday, time: "10:00"}
    - {day: Tuesday, time: "14:30"}
  ask_opening: "I have {openings}."
  unavailable: "That is taken. I have {openings}."
  choose: "I have {openings}."
  ask_name: What is your name?
  confirm: "{opening} for {name}, right?"
  ask_again: What time suits you?
  done: "Booked, {name}."
  give_up: Let me pass you on.
""",
    Agent,
    "agents.py",
)
