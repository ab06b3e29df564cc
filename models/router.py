"""Where an utterance should go and what is known about it: a MiniLM sentence embedding, a linear head, and a search.

The head is a multinomial logistic regression on the embeddings, trained at start from the agent's labelled examples (a
few dozen; a tenth of a second). Knowledge is searched by cosine to each passage's text and to the questions it answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from models.types import ModelFailure, Passage, RouteDecision

Matrix = npt.NDArray[np.float32]

LONGEST_TOKENS = 96
"""Tokens of an utterance that are read: a long turn's first minute of words and more."""
REGULARISATION = np.float32(0.02)
"""Weight of the squared norm in the head's loss; chosen by leave-one-out accuracy on the demo agent's examples."""
SCALE = np.float32(8.0)
"""Unit-length embeddings are multiplied by this before the head, which then converges in few steps."""
STEPS = 300
LEARNING_RATE = np.float32(0.5)


@dataclass(frozen=True, slots=True)
class KnowledgePassage:
    """A piece of knowledge and ways to ask for it."""

    id: str
    text: str
    questions: tuple[str, ...] = ()


class SentenceEncoder:
    """Sentences to unit vectors, with all-MiniLM-L6-v2."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        """`folder` holds model.onnx and tokenizer.json. Raises ModelFailure if they cannot be read."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # Both libraries raise bare Exceptions for a file that is missing or broken.
            raise ModelFailure(f"router weights in {folder}: {error}; run `trunkline models verify`") from error
        self._tokenizer.enable_truncation(LONGEST_TOKENS)

    def embed(self, texts: Sequence[str]) -> Matrix:
        """Unit vectors, float32 of shape (len(texts), 384)."""
        self._tokenizer.enable_padding()
        encoded = self._tokenizer.encode_batch([text.lower() for text in texts])
        feed = {
            "input_ids": np.array([each.ids for each in encoded], np.int64),
            "attention_mask": np.array([each.attention_mask for each in encoded], np.int64),
        }
        vectors: Matrix = self._session.run(["embedding"], feed)[0]
        return vectors


class LinearHead:
    """Multinomial logistic regression; training is full-batch gradient descent from zero, so it is deterministic."""

    def __init__(self, vectors: Matrix, labels: Sequence[str]) -> None:
        """Train on unit vectors (n, d) and their n labels. Raises ValueError for fewer than two different labels."""
        self.labels = tuple(sorted(set(labels)))
        if len(self.labels) < 2:
            raise ValueError(
                f"a classifier needs examples of at least two labels, got {', '.join(self.labels) or 'none'}"
            )
        index = np.array([self.labels.index(label) for label in labels])
        targets = np.eye(len(self.labels), dtype=np.float32)[index]
        # Each label weighs the same, however many examples it has.
        weights = (1.0 / np.bincount(index)[index] / len(self.labels)).astype(np.float32)[:, None]
        self._weights = np.zeros((vectors.shape[1], len(self.labels)), np.float32)
        self._bias = np.zeros(len(self.labels), np.float32)
        scaled = vectors * SCALE
        for _ in range(STEPS):
            error = (self._softmax(scaled @ self._weights + self._bias) - targets) * weights
            self._weights -= LEARNING_RATE * (scaled.T @ error + REGULARISATION * self._weights)
            self._bias -= LEARNING_RATE * error.sum(axis=0)

    def probabilities(self, vectors: Matrix) -> Matrix:
        """Shape (n, labels), in the order of `labels`."""
        return self._softmax(vectors * SCALE @ self._weights + self._bias)

    @staticmethod
    def _softmax(logits: Matrix) -> Matrix:
        shifted: Matrix = np.exp(logits - logits.max(axis=1, keepdims=True))
        result: Matrix = shifted / shifted.sum(axis=1, keepdims=True)
        return result


class IntentRouter:
    """Label, confidence and the nearest passages for an utterance."""

    def __init__(
        self,
        folder: Path,
        *,
        examples: Mapping[str, Sequence[str]],
        passages: Sequence[KnowledgePassage],
        threads: int = 1,
    ) -> None:
        """`examples`: utterances by label. Raises ModelFailure if the weights cannot be read, ValueError if there are
        examples of fewer than two labels."""
        self._encoder = SentenceEncoder(folder, threads=threads)
        texts = [text for group in examples.values() for text in group]
        labels = [label for label, group in examples.items() for _ in group]
        self._head = LinearHead(self._encoder.embed(texts), labels)
        self._passages = tuple(passages)
        ways = [(number, text) for number, each in enumerate(passages) for text in (each.text, *each.questions)]
        self._owners = np.array([number for number, _ in ways], np.int64)
        self._ways = self._encoder.embed([text for _, text in ways]) if ways else np.zeros((0, 384), np.float32)

    def route(self, text: str, *, top_k: int = 3) -> RouteDecision:
        """Where the utterance belongs. An empty one gets the likeliest label of nothing, with its low confidence."""
        vector = self._encoder.embed([text])
        probabilities = self._head.probabilities(vector)[0]
        best = int(probabilities.argmax())
        return RouteDecision(
            label=self._head.labels[best],
            confidence=float(probabilities[best]),
            passages=self._nearest(vector[0], top_k),
        )

    def _nearest(self, vector: Matrix, top_k: int) -> tuple[Passage, ...]:
        scores = np.full(len(self._passages), -1.0, np.float32)
        np.maximum.at(scores, self._owners, self._ways @ vector)
        order = np.argsort(-scores, kind="stable")[:top_k]
        return tuple(Passage(self._passages[i].id, self._passages[i].text, float(scores[i])) for i in order)
