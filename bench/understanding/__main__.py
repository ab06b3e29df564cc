"""How right this product understands public data, and in what time: by votes, by its model, and by both.

    make bench-understanding                          CLINC150 and NLU++ in ../shared/data, some ten minutes
    python -m bench.understanding --sample 30         the same, quick
    python -m bench.understanding --table FILE        a result's tables again, as Markdown

The router, the model and the stage that weighs them are those of a call (`understanding` in the stack file): each data
set is made an agent whose routes are its intents. As shipped, what is out of scope is refused where that is the
likeliest meaning of all; with a threshold, also where a measure of sureness is below a value: measure and value with
which most was right on the validation split, where as in the test split one in four is out of scope. Of several intents
in one utterance, those are named whose share beside the likeliest one's is above what gave the best micro-F1 there.
Nothing is chosen on the test split.

With 150 intents the model has one example of each in its prompt instead of three, and chooses among the ten that are
nearest by the votes: of more than 128 words at once the engine does not say how likely they are. A call does not do
this by itself, and an agent with more meanings does not start with a model.

The model is asked once for each utterance, and its time counted in both ways that wait for it. Ends 2 if the data are
not there, and 1 if a model fails.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench import results
from bench.results import Json, Percentiles, Point, Trade
from bench.understanding.data import DataMissing, DataSet, as_agent, load
from bench.understanding.published import CLINC150, DRAWN
from bench.understanding.scores import scope, scored
from bench.understanding.table import markdown, parsed, read
from bench.understanding.ways import Measured, Ways
from models.llm import VllmLanguageModel
from models.settings import SettingsError
from models.types import ModelFailure
from pipeline.understanding.catalogue import catalogue
from serve.config import EMBEDDED_STACK, Stack, load_stack
from serve.deployment_settings import UnderstandingSettings
from serve.deployments import prepared_folder, understanding_of
from serve.direct import direct_router

READING_S = 600.0
"""So long may reading a prompt take: those of 150 intents are longer than an agent's."""


async def measure(
    stack: Stack, settings: UnderstandingSettings, data: Sequence[DataSet], console: Console
) -> list[tuple[DataSet, list[Measured]]]:
    """Every data set in every way. Raises ModelFailure."""
    model = VllmLanguageModel(settings.engine.model_copy(update={"request_timeout_s": READING_S}))
    await model.start(prepared_folder(settings.weights))
    try:
        found = []
        for one in data:
            agent = as_agent(one)
            shown = settings.model_copy(update={"examples": one.shown})
            # Not warmed up, which asks among all: the first utterance to choose on has the prompt read.
            understanding = understanding_of(model, catalogue(agent), shown)
            router = direct_router(agent, stack.router.weights)
            found.append((one, await Ways(one, router, understanding, settings.policy(), console).measure()))
        return found
    finally:
        await model.stop()


def data_json(data: DataSet, measured: Sequence[Measured], timeout_s: float) -> dict[str, Json]:
    return {
        "intents": len(data.intents),
        "examples": len(data.examples),
        "shown_of_each": data.shown,
        "among": data.among,
        "validation": len(data.validation),
        "test": len(data.test),
        "ways": {one.way: scored(one, several=data.several, timeout_s=timeout_s) for one in measured},
    }


def trade(found: Sequence[tuple[DataSet, Sequence[Measured]]]) -> Trade:
    """What is right of what is in scope, as shipped, over the median time."""
    return Trade(
        [
            Point(
                data.name,
                one.way,
                Percentiles.of(taken.took_ms for taken in one.test).p50,
                scope(one.test).accuracy,
            )
            for data, measured in found
            for one in measured
        ],
        {f"{one.name}, {one.examples} examples, 150 intents": one.accuracy for one in CLINC150 if one.name in DRAWN},
        "right in scope (NLU++: one of those meant)",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.understanding", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with clinc150/ and nlupp/")
    parser.add_argument("--sample", type=int, default=200, help="utterances in scope to ask of each data set, at most")
    parser.add_argument("--stack", type=Path, default=EMBEDDED_STACK, help="whose router and model understand")
    parser.add_argument("--only", help="data sets whose name has this in it")
    parser.add_argument("--table", type=Path, help="print an earlier result's tables, and measure nothing")
    parser.add_argument("--no-write", action="store_true", help="leave no files in bench/results")
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=True, markup=False, highlight=False)
    try:
        if options.table is not None:
            console.print(markdown(read(options.table)))
            return 0
        data = [one for one in load(options.data, options.sample) if (options.only or "") in one.name]
        stack = load_stack(options.stack)
    except (DataMissing, SettingsError) as error:
        console.print(str(error))
        return 2
    settings = stack.understanding
    if settings is None or not data:
        console.print(f"{options.stack}: expected `understanding`" if data else f"--only {options.only}: no data set")
        return 2
    load_before = round(os.getloadavg()[0], 2)
    try:
        found = asyncio.run(measure(stack, settings, data, console))
    except ModelFailure as error:
        console.print(f"bench.understanding: {error}")
        return 1
    result: dict[str, Json] = {
        "model": settings.weights,
        "fast_path": settings.fast_path,
        "sample": options.sample,
        "load_before": load_before,
        "data": {one.name: data_json(one, measured, settings.timeout_s) for one, measured in found},
        "published_clinc150": [one.as_json() for one in CLINC150],
    }
    console.print(markdown(parsed(result)))
    if not options.no_write:
        report, picture = results.write(
            "understanding",
            result,
            packages=("vllm", "torch", "onnxruntime", "numpy"),
            plot=trade(found),
            axis=f"milliseconds an utterance, p50 ({settings.weights}, {settings.engine.cpu.threads} threads)",
        )
        console.print(f"{report}\n{picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
