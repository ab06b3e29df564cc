"""What others measured on the same data, each with the number of examples that it learnt from.

CLINC150, 150 intents, whole test split:
- Larson et al. 2019, "An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction" (arXiv 1909.02027),
  table 2, full: 100 examples of each intent and 100 out of scope to train on. Accuracy in scope, recall out of scope.
- Casanueva et al. 2020, "Efficient Intent Detection with Dual Sentence Encoders" (NLP4ConvAI), and Zhang et al. 2020,
  "Discriminative Nearest Neighbor Few-Shot Intent Detection" (EMNLP), as listed in the README of
  github.com/jianguoz/Few-Shot-Intent-Detection: 10 examples of each intent, nothing out of scope to train on or asked.

NLU++ is published as micro-F1 in three regimes, each a mean over all its splits: to learn from are 1 fold of 20, 2, or
all but one or two. What is measured here is near to the last, on one split, and is given beside none of them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from bench.results import Json


@dataclass(frozen=True, slots=True)
class Published:
    """One figure on CLINC150 with 150 intents."""

    name: str
    examples: int
    """Of each intent."""
    accuracy: float
    """In scope."""
    recall: float | None
    """Out of scope; None: not asked."""
    source: str

    def as_json(self) -> dict[str, Json]:
        return asdict(self)


_LARSON = "arXiv 1909.02027, table 2, full"
_FEW = "README of github.com/jianguoz/Few-Shot-Intent-Detection"
CLINC150 = (
    Published("BERT, out-of-scope class", 100, 0.969, 0.403, f"{_LARSON}, oos-train"),
    Published("BERT, threshold", 100, 0.962, 0.523, f"{_LARSON}, oos-threshold"),
    Published("MLP on sentence embeddings, out-of-scope class", 100, 0.935, 0.474, f"{_LARSON}, oos-train"),
    Published("DialogFlow, out-of-scope class", 100, 0.917, 0.140, f"{_LARSON}, oos-train"),
    Published("Rasa, out-of-scope class", 100, 0.915, 0.453, f"{_LARSON}, oos-train"),
    Published("USE + ConveRT", 10, 0.9326, None, f"{_FEW}; Casanueva et al. 2020"),
    Published("RoBERTa, fine-tuned", 10, 0.9155, None, f"{_FEW}; Zhang et al. 2020"),
)
DRAWN = ("BERT, out-of-scope class", "USE + ConveRT", "RoBERTa, fine-tuned")
