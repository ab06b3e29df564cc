"""A language model on vLLM: token ids in, pieces of text out, one engine process an instance.

vLLM's `AsyncLLM` is held directly rather than behind its HTTP server: no JSON and SSE between engine and call, and
priority, abort and prefix warm-up are ours to use. vLLM is imported by `start`, so that only the process that runs
an engine pays for the import.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.llm_settings import LlmSettings
from models.types import Delta, Device, GenerateRequest, ModelFailure
from models.vllm_engine import engine_environment, make_engine

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine.async_llm import AsyncLLM

__all__ = ["LlmStatistics", "VllmLanguageModel"]

_CHECK_PRIORITY = -1_000_000
"""Before every call's request: a health check tells whether the engine runs, not how long its queue is."""
_PREFILL_STEP_BACK = 1
"""A warm-up runs after the generations of its own priority."""
_STOP_GRACE_S = 3.0
"""How long the engine process has to end by itself before it is killed."""


@dataclass(frozen=True, slots=True)
class LlmStatistics:
    """What an engine has done since it started."""

    unfinished: int
    """Requests running or waiting now."""
    prompt_tokens: int
    """Tokens of all prompts whose first token has come, warm-ups included."""
    cached_tokens: int
    """How many of them were in the prefix cache."""
    generated_tokens: int


class VllmLanguageModel:
    """One engine: `start`, then `generate` and `prefill` from any number of tasks, then `stop`."""

    def __init__(self, settings: LlmSettings, device: Device = "cpu") -> None:
        self._settings = settings
        self._device: Device = device
        self._engine: AsyncLLM | None = None
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._checks = 0
        self._prompt_tokens = 0
        self._cached_tokens = 0
        self._generated_tokens = 0

    async def start(self, folder: Path) -> None:
        """Load the transformers folder (weights, config, tokenizer with a chat template) into a new engine process.

        Sets environment variables that vLLM and the engine process read, for the whole process and for good: give
        an engine a process of its own. Raises ModelFailure if the folder is not usable or the engine does not start.
        """
        if self._engine is not None:
            raise ModelFailure("language model: already started; stop it first")
        if not (folder / "config.json").is_file():
            raise ModelFailure(
                f"language model: {folder} has no config.json; expected a transformers folder "
                "(`trunkline models prepare` makes it)"
            )
        os.environ.update(engine_environment(self._settings, self._device))
        try:
            # Importing, spawning and waiting for the engine all block; they take most of the start.
            engine = await asyncio.to_thread(make_engine, folder, self._settings, self._device)
        except Exception as error:  # Whatever kept the engine from starting, the caller needs one kind of failure.
            raise ModelFailure(f"language model: the engine did not start on {folder}: {error}") from error
        self._engine = engine
        try:
            await engine.collective_rpc("end_with_parent", args=(os.getpid(),))
            self._tokenizer = engine.get_tokenizer()
            if not self._tokenizer.chat_template:
                raise ModelFailure(f"language model: the tokenizer in {folder} has no chat template")
            await self.check()  # The first pass is the slowest; no caller should wait for it.
        except BaseException:
            await self.stop()
            raise

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        """The reply, piece by piece as the engine produces it; the last delta has a finish reason.

        Closing the generator aborts the request in the engine. Raises ModelFailure if the prompt is too long, a
        parameter is out of range, the reply takes longer than `request_timeout_s`, or the engine fails.
        """
        params = _sampling(request, self._settings)
        async with aclosing(self._run(request, params, request.priority)) as deltas:
            async for delta in deltas:
                yield delta

    async def structured(self, request: GenerateRequest, schema: Mapping[str, object]) -> str:
        """One reply as JSON that fits the JSON schema, at temperature 0, without white space between its parts.

        Cancelling aborts the request in the engine. Raises ModelFailure as `generate` does, if xgrammar cannot make a
        grammar of the schema (it knows no uniqueItems), and if the reply is cut off by `max_tokens`.
        """
        params = _sampling(dataclasses.replace(request, temperature=0.0), self._settings, schema)
        pieces: list[str] = []
        async with aclosing(self._run(request, params, request.priority)) as deltas:
            async for delta in deltas:
                pieces.append(delta.text)
                if delta.finish_reason == "length":
                    raise ModelFailure(
                        f"language model: request {request.request_id}: the reply is not whole after "
                        f"{params.max_tokens} tokens: {''.join(pieces)!r}"
                    )
        return "".join(pieces)

    async def prefill(self, request: GenerateRequest) -> None:
        """Put the request's prompt into the prefix cache, so that the reply's first token comes sooner.

        Does nothing while all the engine's places are taken: a warm-up must not delay a reply. Raises ModelFailure
        for a prompt that `generate` would refuse too, or if the engine fails.
        """
        if self._running().get_num_unfinished_requests() >= self._settings.max_sequences:
            return
        one_token = GenerateRequest(f"{request.request_id}-prefill", request.messages, max_tokens=1)
        params = _sampling(one_token, self._settings)
        async with aclosing(self._run(one_token, params, request.priority + _PREFILL_STEP_BACK)) as deltas:
            async for _ in deltas:
                pass

    def token_ids(self, text: str) -> list[int]:
        """The tokens of a text by itself. Raises ModelFailure if the engine is not running."""
        self._running()
        assert self._tokenizer is not None
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    async def weigh(self, request: GenerateRequest, token_ids: Sequence[int]) -> tuple[float, ...]:
        """How likely each of these tokens is the reply's first: log probabilities, in the order given.

        One pass over what the prefix cache does not hold of the prompt; no token is generated beyond it. Raises
        ModelFailure as `generate` does, and for none or more than 128 tokens.
        """
        from vllm.inputs.engine import tokens_input
        from vllm.sampling_params import MAX_LOGPROB_TOKEN_IDS, RequestOutputKind, SamplingParams

        if not 0 < len(token_ids) <= MAX_LOGPROB_TOKEN_IDS:
            raise ModelFailure(
                f"language model: request {request.request_id}: expected 1 to {MAX_LOGPROB_TOKEN_IDS} tokens to weigh, "
                f"got {len(token_ids)}"
            )
        prompt = tokens_input(self.prompt_tokens(request))
        params = SamplingParams(
            max_tokens=1,
            temperature=0.0,
            logprob_token_ids=list(token_ids),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        timeout_s = self._settings.request_timeout_s
        outputs = self._outputs(prompt, params, request.request_id, request.priority, timeout_s)
        async with aclosing(outputs) as pieces:
            async for output in pieces:
                self._count_prompt(output)
                self._generated_tokens += 1
                found = output.outputs[0].logprobs
                if found:
                    return tuple(found[0][token].logprob for token in token_ids)
        raise ModelFailure(f"language model: request {request.request_id} ended without log probabilities")

    async def check(self) -> None:
        """Have the engine generate one token. Raises ModelFailure if it is dead, or too slow to be of use."""
        self._running()
        from vllm.inputs.engine import tokens_input
        from vllm.sampling_params import SamplingParams

        self._checks += 1
        # Ids that change from check to check: a cached prompt would not exercise the model.
        prompt = tokens_input([1 + self._checks % 256, 1])
        params = SamplingParams(max_tokens=1, temperature=0.0, detokenize=False)
        name = f"check-{self._checks}"
        outputs = self._outputs(prompt, params, name, _CHECK_PRIORITY, self._settings.health_timeout_s)
        async with aclosing(outputs) as pieces:
            async for _ in pieces:
                pass

    def statistics(self) -> LlmStatistics:
        """Counts since the start. Raises ModelFailure if the engine is not running."""
        unfinished = self._running().get_num_unfinished_requests()
        return LlmStatistics(unfinished, self._prompt_tokens, self._cached_tokens, self._generated_tokens)

    @property
    def dead(self) -> bool:
        """Whether the engine process has ended by itself; nothing brings it back."""
        return self._engine is not None and self._engine.errored

    async def stop(self) -> None:
        """End the engine process. Safe to call twice, and on an engine that died."""
        engine, self._engine = self._engine, None
        if engine is not None:
            if engine.output_handler is not None:
                engine.output_handler.cancel()  # It would log the engine's end as an error.
            await asyncio.to_thread(engine.shutdown, _STOP_GRACE_S)

    def prompt_tokens(self, request: GenerateRequest) -> list[int]:
        """The token ids the engine gets: the messages in the model's chat template, up to where the reply begins.

        Raises ModelFailure if there are no messages or more than `max_prompt_tokens` tokens.
        """
        self._running()
        assert self._tokenizer is not None
        if not request.messages:
            raise ModelFailure(f"language model: request {request.request_id} has no messages; expected at least one")
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        ids: list[int] = self._tokenizer.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=True, return_dict=False
        )
        if len(ids) > self._settings.max_prompt_tokens:
            raise ModelFailure(
                f"language model: request {request.request_id}: the prompt may have at most "
                f"{self._settings.max_prompt_tokens} tokens, got {len(ids)}; send fewer or shorter messages"
            )
        return ids

    async def _run(
        self, request: GenerateRequest, params: SamplingParams, priority: int
    ) -> AsyncGenerator[Delta, None]:
        from vllm.inputs.engine import tokens_input

        prompt = tokens_input(self.prompt_tokens(request))
        timeout_s = self._settings.request_timeout_s
        first = True
        async with aclosing(self._outputs(prompt, params, request.request_id, priority, timeout_s)) as outputs:
            async for output in outputs:
                piece = output.outputs[0]
                if first:
                    self._count_prompt(output)
                    first = False
                self._generated_tokens += len(piece.token_ids)
                if piece.finish_reason not in (None, "stop", "length", "abort"):
                    raise ModelFailure(f"language model: request {request.request_id} ended in {piece.finish_reason}")
                yield Delta(piece.text, len(piece.token_ids), piece.finish_reason)

    def _count_prompt(self, output: RequestOutput) -> None:
        self._prompt_tokens += len(output.prompt_token_ids or ())
        self._cached_tokens += output.num_cached_tokens or 0

    async def _outputs(
        self, prompt: object, params: SamplingParams, request_id: str, priority: int, timeout_s: float
    ) -> AsyncGenerator[RequestOutput, None]:
        """The engine's outputs, its many failures made one, each waited for no longer than the request may take."""
        engine = self._running()
        deadline = asyncio.get_running_loop().time() + timeout_s
        async with aclosing(engine.generate(prompt, params, request_id, priority=priority)) as outputs:
            while True:
                try:
                    # Around each step, not around the loop: a time-out must not span a yield, where other code runs.
                    async with asyncio.timeout_at(deadline):
                        output = await anext(outputs)
                except StopAsyncIteration:
                    return
                except TimeoutError as error:
                    raise ModelFailure(
                        f"language model: request {request_id} was aborted: not finished within {timeout_s:g} s"
                    ) from error
                except Exception as error:  # vLLM raises kinds of its own for a dead engine and for bad requests.
                    raise ModelFailure(f"language model: request {request_id}: {_describe(error)}") from error
                yield output

    def _running(self) -> AsyncLLM:
        if self._engine is None:
            raise ModelFailure("language model: not started")
        if self._engine.errored:
            raise ModelFailure("language model: the engine process died; the replica must be restarted")
        return self._engine


def _sampling(
    request: GenerateRequest, settings: LlmSettings, schema: Mapping[str, object] | None = None
) -> SamplingParams:
    """`schema`: what the reply, as JSON, must fit; without one, `choices` bind it if there are any."""
    from vllm.exceptions import VLLMClientError
    from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

    if request.max_tokens < 1:
        raise ModelFailure(f"language model: max_tokens must be at least 1, got {request.max_tokens}")
    bound: StructuredOutputsParams | None = None
    try:
        if schema is not None:
            bound = StructuredOutputsParams(json=dict(schema))
        elif request.choices:
            bound = StructuredOutputsParams(choice=list(request.choices))
        return SamplingParams(
            max_tokens=min(request.max_tokens, settings.max_new_tokens),
            temperature=request.temperature,
            stop=list(request.stop) or None,
            seed=settings.seed if request.seed is None else request.seed,
            structured_outputs=bound,
            output_kind=RequestOutputKind.DELTA,
        )
    except (ValueError, VLLMClientError) as error:
        raise ModelFailure(f"language model: request {request.request_id}: {error}") from error


def _describe(error: Exception) -> str:
    cause = error.__cause__
    return f"{type(error).__name__}: {error}" + (f" ({type(cause).__name__}: {cause})" if cause else "")
