"""Whisper of any shape without its weights: random numbers that cost what the real ones cost, and say what is asked.

For timing a transcriber where no weights can be brought, and for tests that shall need none. The position encodings of
its decoder write the words, whatever it hears: each leads to the token that comes next, so that a decoding is as long
as a real one of the same words, and ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ctranslate2.specs import WhisperSpec
from ctranslate2.specs.attention_spec import MultiHeadAttentionSpec
from ctranslate2.specs.common_spec import LayerNormSpec, LinearSpec
from ctranslate2.specs.transformer_spec import FeedForwardSpec
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as BytesToText
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from models.types import ModelFailure

Weights = npt.NDArray[np.float16]

SAYS = "I would like to book a cleaning for Tuesday at nine"

_LANGUAGES = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml "
    "cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am "
    "yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue"
).split()
"""In the order of their tokens; the last one is known to large-v3 and its kin only."""
_TIMESTAMPS = 1501
_POSITIONS_HEARD, _POSITIONS_SAID = 1500, 448
_LOUDNESS = 12.0
"""Of what leads to the next token, over the noise of the layers."""


@dataclass(frozen=True, slots=True)
class WhisperShape:
    """Sizes of a Whisper."""

    encoder_layers: int
    decoder_layers: int
    heads: int
    width: int
    mels: int
    text_tokens: int
    """Ids of text; special tokens and timestamps follow."""
    languages: int
    """That it tells apart; 0: it knows English only."""

    @property
    def vocabulary(self) -> int:
        return self.text_tokens + len(_specials(self)) + _TIMESTAMPS


SHAPES = {
    "tiny-test": WhisperShape(2, 2, 2, 64, 80, text_tokens=400, languages=0),
    "tiny.en": WhisperShape(4, 4, 6, 384, 80, text_tokens=50_256, languages=0),
    "large-v3-turbo": WhisperShape(32, 4, 20, 1280, 128, text_tokens=50_257, languages=100),
    "large-v3": WhisperShape(32, 32, 20, 1280, 128, text_tokens=50_257, languages=100),
}
"""As published, but for the first."""


def write_dummy_whisper(folder: Path, shape: WhisperShape, *, says: str = SAYS, seed: int = 0) -> None:
    """Write model.bin (float16), the configurations, tokenizer.json and the vocabulary into a folder.

    Raises ModelFailure for more words than a decoder has room for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = says.split()
    texts = _texts(shape, words)
    specials = _specials(shape)
    vocabulary = [*texts, *specials, *(f"<|{index * 0.02:.2f}|>" for index in range(_TIMESTAMPS))]
    ids = {token: index for index, token in enumerate(vocabulary)}
    _tokenizer(texts, specials).save(str(folder / "tokenizer.json"))
    script = [ids["<|0.00|>"], *(ids[f"Ġ{word}"] for word in words), ids["<|endoftext|>"]]
    prompt = 3 if shape.languages else 1
    if prompt - 1 + len(script) > _POSITIONS_SAID // 2:
        raise ModelFailure(f"a dummy Whisper says {_POSITIONS_SAID // 2 - prompt} words at most, got {len(words)}")
    leads_to = {prompt - 1 + index: token for index, token in enumerate(script)}
    if shape.languages:
        # What is said after the first token of the prompt is the language.
        leads_to[0] = ids["<|en|>"]
    spec = _Filler(shape, np.random.default_rng(seed)).spec(leads_to, rest=script[-1])
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = []
    spec.config.lang_ids = [ids[f"<|{code}|>"] for code in _LANGUAGES[: shape.languages or 99]]
    spec.config.alignment_heads = [[shape.decoder_layers - 1, 0]]
    spec.register_vocabulary(vocabulary)
    spec.validate()
    spec.optimize(quantization=None)
    spec.save(str(folder))
    features = {
        "feature_size": shape.mels,
        "sampling_rate": 16_000,
        "n_fft": 400,
        "hop_length": 160,
        "chunk_length": 30,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(features))


def _specials(shape: WhisperShape) -> list[str]:
    return [
        "<|endoftext|>",
        "<|startoftranscript|>",
        *(f"<|{code}|>" for code in _LANGUAGES[: shape.languages or 99]),
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
    ]


def _texts(shape: WhisperShape, words: Iterable[str]) -> list[str]:
    """As many tokens of text as the shape has: all bytes, the words that are said, and words that never are."""
    known = dict.fromkeys([*sorted(ByteLevel.alphabet()), *(f"Ġ{word}" for word in words)])
    # CTranslate2 knows multilingual weights by the empty token, their last one of text.
    last = [""] if shape.languages else []
    never_said = shape.text_tokens - len(known) - len(last)
    if never_said < 0:
        raise ModelFailure(f"{shape.text_tokens} tokens of text are too few for what is to be said")
    return [*known, *(f"Ġ#{index}" for index in range(never_said)), *last]


def _tokenizer(texts: list[str], specials: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(BPE(vocab={text: index for index, text in enumerate(texts)}, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = BytesToText()
    tokenizer.add_special_tokens([AddedToken(special, special=True, normalized=False) for special in specials])
    return tokenizer


class _Filler:
    """Random weights in CTranslate2's specification, scaled so that the layers murmur."""

    def __init__(self, shape: WhisperShape, rng: np.random.Generator) -> None:
        self._shape = shape
        self._rng = rng

    def spec(self, leads_to: dict[int, int], *, rest: int) -> WhisperSpec:
        """`leads_to`: the token that follows, by position; `rest`: after all others."""
        shape, width = self._shape, self._shape.width
        spec = WhisperSpec(shape.encoder_layers, shape.heads, shape.decoder_layers, shape.heads)
        encoder, decoder = spec.encoder, spec.decoder
        for convolution, inputs in ((encoder.conv1, shape.mels), (encoder.conv2, width)):
            convolution.weight = self._random(width, inputs, 3)
            convolution.bias = np.zeros(width, np.float16)
        encoder.position_encodings.encodings = self._random(_POSITIONS_HEARD, width)
        for layer in encoder.layer:
            self._attention(layer.self_attention)
            self._feed_forward(layer.ffn)
        words = self._random(shape.vocabulary, width, scale=1.0)
        leads = np.array([leads_to.get(position, rest) for position in range(_POSITIONS_SAID)])
        decoder.embeddings.weight = words
        decoder.projection.weight = words
        decoder.position_encodings.encodings = (_LOUDNESS * words[leads]).astype(np.float16)
        for layer in decoder.layer:
            self._attention(layer.self_attention)
            self._attention(layer.attention, to_sound=True)
            self._feed_forward(layer.ffn)
        self._norm(encoder.layer_norm)
        self._norm(decoder.layer_norm)
        return spec

    def _random(self, *sizes: int, scale: float = 0.02) -> Weights:
        return (self._rng.standard_normal(sizes, dtype=np.float32) * np.float32(scale)).astype(np.float16)

    def _linear(self, linear: LinearSpec, outputs: int, inputs: int) -> None:
        linear.weight = self._random(outputs, inputs)
        linear.bias = np.zeros(outputs, np.float16)

    def _norm(self, norm: LayerNormSpec) -> None:
        norm.gamma = np.ones(self._shape.width, np.float16)
        norm.beta = np.zeros(self._shape.width, np.float16)

    def _attention(self, attention: MultiHeadAttentionSpec, *, to_sound: bool = False) -> None:
        width = self._shape.width
        rows = (1, 2, 1) if to_sound else (3, 1)
        for linear, times in zip(attention.linear, rows, strict=True):
            self._linear(linear, times * width, width)
        self._norm(attention.layer_norm)

    def _feed_forward(self, feed_forward: FeedForwardSpec) -> None:
        width = self._shape.width
        self._norm(feed_forward.layer_norm)
        self._linear(feed_forward.linear_0, 4 * width, width)
        self._linear(feed_forward.linear_1, width, 4 * width)
