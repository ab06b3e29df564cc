"""Where an utterance should go: a sentence embedding, a linear head trained at start, and the nearest knowledge.

The embedding is all-MiniLM-L6-v2 (https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2) by ONNX Runtime. The
head is multinomial logistic regression on it, trained from the agent's labelled examples in a few milliseconds: an
operator changes routes by writing examples, not by training a model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from models.neighbours import Neighbours
from models.ngrams import Encoder, JoinedEncoder
from models.types import ModelFailure, Passage, RouteDecision

__all__ = ["IntentRouter", "KnowledgePassage", "LinearHead", "SentenceEncoder", "spoken_form"]

Embeddings = npt.NDArray[np.float32]
"""Rows of length 1, shape (n, 384)."""

_LONGEST_TOKENS = 64
"""An utterance's last tokens beyond this are cut; the encoder was trained on sentences of at most 128."""
_PENALTY = 0.003
"""L2 penalty of the head; little differs between 0.001 and 0.01 on a hundred examples."""
_STEPS = 300
_FOLDS = 5
_BATCH = 64
"""Texts encoded at once; they are padded to the longest of them."""
_STRANGE_COSINE, _FAMILIAR_COSINE = 0.2, 0.5
"""Cosine to the nearest example or passage below which an utterance is foreign, and above which it is familiar."""
_FILLERS = re.compile(r"\b(?:um+|uh+|uhm|erm+|hmm+)\b")


@dataclass(frozen=True, slots=True)
class KnowledgePassage:
    """A piece of the agent's knowledge, and ways callers ask for it."""

    id: str
    text: str
    questions: tuple[str, ...] = ()


def spoken_form(text: str) -> str:
    """How a transcriber may write the text: lower case, no punctuation but apostrophes, no fillers.

    Utterances, examples and questions all pass through it, so that case and commas do not count. Text that is all
    fillers stays as it is.
    """
    plain = " ".join(re.sub(r"[^\w\s'%$]", " ", text.lower().replace("’", "'")).split())
    return " ".join(_FILLERS.sub("", plain).split()) or plain


class SentenceEncoder:
    """MiniLM by ONNX Runtime: text to unit vectors."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        """`folder` holds model.onnx and tokenizer.json. Raises ModelFailure if they cannot be loaded."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Idle threads that spin take the cores from the other models of a small machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # Both libraries raise kinds of their own for a missing or broken file.
            raise ModelFailure(
                f"router: cannot load {folder} ({error}); expected model.onnx and tokenizer.json, "
                "which `trunkline models prepare` makes"
            ) from error
        self._tokenizer.enable_truncation(_LONGEST_TOKENS, direction="left")
        self._tokenizer.enable_padding()

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """One row of length 1 for each text, float32 (n, 384)."""
        if not texts:
            raise ModelFailure("router: nothing to encode; expected at least one text")
        encodings = self._tokenizer.encode_batch(list(texts))
        feeds = {
            "input_ids": np.array([encoding.ids for encoding in encodings], np.int64),
            "attention_mask": np.array([encoding.attention_mask for encoding in encodings], np.int64),
        }
        rows: Embeddings = self._session.run(["embedding"], feeds)[0]
        return rows


class LinearHead:
    """Multinomial logistic regression with an L2 penalty, fitted by a fixed number of accelerated gradient steps.

    The same examples in the same order always give the same head: it starts at zero and uses no randomness.
    """

    def __init__(self, labels: tuple[str, ...], weights: npt.NDArray[np.float64], sharpness: float) -> None:
        """`weights`: shape (385, labels), the last row is the bias; `sharpness` multiplies the scores."""
        self.labels = labels
        self.sharpness = sharpness
        self._weights = weights

    @classmethod
    def fit(cls, rows: Embeddings, labels: Sequence[str]) -> LinearHead:
        """Fit `labels`, one a row. Every label weighs the same, however many examples it has.

        The sharpness (the inverse of a temperature, Guo et al. 2017, https://arxiv.org/abs/1706.04599) is chosen on
        examples that a head trained without them scores, so that a confidence of 0.8 is right about eight times in
        ten on new utterances. Raises ModelFailure for fewer than two labels, or a label with fewer than two examples.
        """
        names = tuple(dict.fromkeys(labels))
        counts = np.array([sum(label == name for label in labels) for name in names], np.int64)
        if len(names) < 2 or counts.min() < 2:
            found = ", ".join(f"{name}: {count}" for name, count in zip(names, counts, strict=True))
            raise ModelFailure(f"router: expected at least two labels with two examples each, got {found or 'none'}")
        wanted = np.array([names.index(label) for label in labels])
        inputs = np.hstack([rows.astype(np.float64), np.ones((len(rows), 1))])
        shares = 1.0 / (len(names) * counts[wanted])
        scores = np.empty((len(rows), len(names)))
        folds = _folds(wanted)
        for fold in range(_FOLDS):
            inside, outside = folds != fold, folds == fold
            scores[outside] = inputs[outside] @ _fit(inputs[inside], wanted[inside], shares[inside], len(names))
        return cls(names, _fit(inputs, wanted, shares, len(names)), _best_sharpness(scores, wanted, shares))

    def probabilities(self, row: Embeddings) -> npt.NDArray[np.float64]:
        """Of each label, for one embedding of shape (384,)."""
        scores = np.append(row.astype(np.float64), 1.0) @ self._weights
        return _softmax(self.sharpness * scores)


class IntentRouter:
    """One agent's router. Safe to call from several threads."""

    def __init__(
        self,
        encoder: Path | Encoder,
        *,
        examples: Mapping[str, Sequence[str]],
        passages: Sequence[KnowledgePassage],
        meanings: Mapping[str, Sequence[str]] = MappingProxyType({}),
        threads: int = 1,
        language: str = "en",
    ) -> None:
        """Train the head on `examples`, utterances by label. `encoder`: loaded, or its folder.

        `meanings`: utterances by label of the agent's catalogue, for `RouteDecision.meant`. `language`: for others than
        English, letters count too: MiniLM knows little else. Raises ModelFailure.
        """
        loaded = SentenceEncoder(encoder, threads=threads) if isinstance(encoder, Path) else encoder
        self._encoder = loaded if language == "en" else JoinedEncoder(loaded)
        labels = [label for label, utterances in examples.items() for _ in utterances]
        vectors = self._encode_once(
            [
                *(text for utterances in examples.values() for text in utterances),
                *(text for utterances in meanings.values() for text in utterances),
                *(text for passage in passages for text in (passage.text, *passage.questions)),
            ]
        )

        def rows(texts: Sequence[str]) -> Embeddings:
            return np.stack([vectors[text] for text in texts]) if texts else np.empty((0, 0), np.float32)

        self._examples = rows([text for utterances in examples.values() for text in utterances])
        self._neighbours = Neighbours(
            rows([text for utterances in meanings.values() for text in utterances]),
            [label for label, utterances in meanings.items() for _ in utterances],
        )
        self._head = LinearHead.fit(self._examples, labels)
        self._written = {spoken_form(text): label for label, utterances in examples.items() for text in utterances}
        self._passages = tuple(passages)
        ways = [(number, text) for number, p in enumerate(passages) for text in (p.text, *p.questions)]
        self._owner = np.array([number for number, _ in ways], np.int64)
        self._ways = rows([text for _, text in ways]) if ways else self._examples[:0]

    def route(self, text: str, *, top_k: int = 3) -> RouteDecision:
        """The likeliest label of an utterance, and the `top_k` passages nearest to it, best first.

        The confidence is the label's probability, scaled down when nothing like the utterance is among the examples
        and the knowledge: the head only compares its labels, and is sure of one even if none fits. An utterance that is
        an example word for word has that example's label, surely. Text without words gives confidence 0 and no
        passages. Takes about 5 ms on one core.
        """
        if not any(character.isalnum() for character in text):
            return RouteDecision(self._head.labels[0], 0.0)
        row = self._encode([text])[0]
        probabilities = self._head.probabilities(row)
        best = int(probabilities.argmax())
        cosines = self._ways @ row
        meant = self._neighbours.vote(row)
        if (label := self._written.get(spoken_form(text))) is not None:
            return RouteDecision(label, 1.0, self._nearest(cosines, top_k), meant)
        nearest = max(float((self._examples @ row).max()), float(cosines.max(initial=-1.0)))
        confidence = float(probabilities[best]) * familiarity(nearest)
        return RouteDecision(self._head.labels[best], confidence, self._nearest(cosines, top_k), meant)

    def _nearest(self, cosines: Embeddings, top_k: int) -> tuple[Passage, ...]:
        scores = np.full(len(self._passages), -1.0, np.float32)
        np.maximum.at(scores, self._owner, cosines)
        order = np.argsort(-scores, kind="stable")[:top_k]
        return tuple(Passage(self._passages[i].id, self._passages[i].text, float(scores[i])) for i in order)

    def _encode_once(self, texts: Sequence[str]) -> dict[str, Embeddings]:
        """A vector of shape (d,) for each text; the same text in several places is encoded once."""
        distinct = list(dict.fromkeys(texts))
        found = [
            row for start in range(0, len(distinct), _BATCH) for row in self._encode(distinct[start : start + _BATCH])
        ]
        return dict(zip(distinct, found, strict=True))

    def _encode(self, texts: Sequence[str]) -> Embeddings:
        return self._encoder.encode([spoken_form(text) for text in texts])


def familiarity(cosine: float) -> float:
    """How much an utterance is like anything known, from its nearest neighbour's cosine: 0 up to 0.2, 1 from 0.5."""
    return min(1.0, max(0.0, (cosine - _STRANGE_COSINE) / (_FAMILIAR_COSINE - _STRANGE_COSINE)))


def _folds(wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Deals every label's examples out over the folds in turn."""
    folds = np.empty(len(wanted), np.int64)
    for label in np.unique(wanted):
        members = np.flatnonzero(wanted == label)
        folds[members] = np.arange(len(members)) % _FOLDS
    return folds


def _fit(
    inputs: npt.NDArray[np.float64], wanted: npt.NDArray[np.int64], shares: npt.NDArray[np.float64], labels: int
) -> npt.NDArray[np.float64]:
    """Minimises the weighted cross entropy plus the penalty by Nesterov's method for strongly convex functions."""
    targets = np.eye(labels)[wanted]
    # Half the largest eigenvalue bounds the curvature of the cross entropy (Boehning 1992).
    curvature = 0.5 * float(np.linalg.norm(inputs * np.sqrt(shares)[:, None], 2)) ** 2 + _PENALTY
    root = np.sqrt(_PENALTY / curvature)
    momentum = (1 - root) / (1 + root)
    weights = ahead = np.zeros((inputs.shape[1], labels))
    for _ in range(_STEPS):
        errors = (_softmax(inputs @ ahead) - targets) * shares[:, None]
        new = ahead - (inputs.T @ errors + _PENALTY * ahead) / curvature
        ahead, weights = new + momentum * (new - weights), new
    return weights


def _best_sharpness(
    scores: npt.NDArray[np.float64], wanted: npt.NDArray[np.int64], shares: npt.NDArray[np.float64]
) -> float:
    def loss(sharpness: float) -> float:
        chosen = _softmax(sharpness * scores)[np.arange(len(wanted)), wanted]
        return -float(shares @ np.log(np.maximum(chosen, 1e-12)))

    return min((float(value) for value in np.geomspace(0.25, 8, 41)), key=loss)


def _softmax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float64)
