"""What holds for a pool of replicas: where they may run, how many there are, and what they take of GPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from pydantic import Field, model_validator

from models.settings import StrictModel

SHARES = 100
"""Ray's shares of a GPU are given in hundredths here."""


class PlacementSettings(StrictModel):
    """Which machines of a cluster a deployment's replicas go to."""

    accelerator: str | None = Field(None, pattern=r"^[A-Z0-9][A-Za-z0-9-]*$")
    """Kind of GPU, as Ray names it: H100, A100, L4, L40S, ...; None: any."""
    replicas_per_node: int | None = Field(None, ge=1, le=100)
    """At most so many on one machine; None: as many as fit."""
    resources: dict[str, float] = Field({}, max_length=16)
    """Resources of the cluster's own that a replica takes a part of, by name: {gateway_node: 0.01} keeps replicas on
    the machines that were started with `gateway_node`."""


class ScalingSettings(StrictModel):
    """A number of replicas that follows the load, in place of a fixed one."""

    least: int = Field(1, ge=1, le=256)
    """Replicas that are always there."""
    most: int = Field(ge=1, le=256)
    """Replicas at the highest load."""
    target_ongoing: float = Field(gt=0, le=10_000)
    """Requests under way at one replica at which its number is right: of a gateway, calls; choose a third less than it
    can hold, since another replica takes its time to start."""
    up_after_s: float = Field(5.0, ge=0, le=3600)
    """The load must be higher this long before replicas are added."""
    down_after_s: float = Field(600.0, ge=0, le=86_400)
    """And lower this long before any are taken away."""

    @model_validator(mode="after")
    def _bounds_fit(self) -> ScalingSettings:
        if self.least > self.most:
            raise ValueError(f"least must be at most most ({self.most}), got {self.least}")
        return self


class GpusSettings(StrictModel):
    """The GPUs of the stack's machines; all of one kind."""

    count: int = Field(1, ge=1, le=16)
    """Cards in one machine."""
    machines: int = Field(1, ge=1, le=256)
    """Machines with such cards."""
    memory_mb: int = Field(ge=1000, le=1_000_000)
    """What one card holds, as `nvidia-smi` says, less what other programs take."""
    cache_dir: Path = Path("~/.cache/trunkline/cuda")
    """Where compiled kernels and graphs are kept from one start to the next."""


@dataclass(frozen=True, slots=True)
class OnCards:
    """What one replica takes of GPUs."""

    name: str
    """Of its deployment."""
    memory_mb: int
    """Of each of its cards."""
    share: float
    """What Ray reserves for it; more than 1: whole cards of one machine."""


def share(memory_mb: int, gpus: GpusSettings) -> float:
    """The part of a card that Ray reserves for a replica: rounded up to hundredths, so that what fits by Ray's count
    fits by memory too. Raises ValueError for more than a whole card."""
    found = ceil(SHARES * memory_mb / gpus.memory_mb) / SHARES
    if found > 1:
        raise ValueError(f"gpu_memory_mb: {memory_mb} MB do not fit a card of {gpus.memory_mb} MB (gpus.memory_mb)")
    return found


def check_cards(replicas: Sequence[OnCards], gpus: GpusSettings) -> None:
    """Raises ValueError if the replicas do not fit on the cards, by memory and by Ray's count: those on several cards
    first, then the largest, each on the fullest card that still takes it."""
    memory_mb = [gpus.memory_mb] * (gpus.machines * gpus.count)
    shares = [SHARES] * len(memory_mb)
    for replica in sorted(replicas, key=lambda each: (-each.share, -each.memory_mb)):
        wanted, cards = round(SHARES * replica.share), max(1, round(replica.share))
        chosen = _whole(shares, cards, gpus) if cards > 1 else _fullest(memory_mb, shares, replica.memory_mb, wanted)
        if not chosen:
            raise ValueError(_too_much(replica, replicas, gpus))
        for card in chosen:
            memory_mb[card] -= replica.memory_mb
            shares[card] -= SHARES if cards > 1 else wanted


def _whole(shares: Sequence[int], cards: int, gpus: GpusSettings) -> list[int]:
    """So many empty cards of one machine, or none."""
    for machine in range(gpus.machines):
        first = machine * gpus.count
        empty = [card for card in range(first, first + gpus.count) if shares[card] == SHARES]
        if len(empty) >= cards:
            return empty[:cards]
    return []


def _fullest(memory_mb: Sequence[int], shares: Sequence[int], needed_mb: int, wanted: int) -> list[int]:
    fitting = [card for card, left in enumerate(shares) if left >= wanted and memory_mb[card] >= needed_mb]
    return [min(fitting, key=lambda card: shares[card])] if fitting else []


def _too_much(left_over: OnCards, replicas: Sequence[OnCards], gpus: GpusSettings) -> str:
    taken: dict[str, int] = {}
    for replica in replicas:
        taken[replica.name] = taken.get(replica.name, 0) + replica.memory_mb * max(1, round(replica.share))
    listed = ", ".join(f"{name} {size} MB" for name, size in taken.items())
    count = gpus.machines * gpus.count
    return (
        f"gpus: {left_over.name} no longer fits on {count} card{'s' if count > 1 else ''} of {gpus.memory_mb} MB: "
        f"{sum(taken.values())} MB are asked for ({listed}); lower replicas, lower kv_cache_mb and gpu_memory_mb, or "
        "choose smaller weights"
    )


def cuda_environment(gpus: GpusSettings) -> Mapping[str, str]:
    """Where the libraries of a replica on a GPU keep what they compiled: CTranslate2's kernels for a newer card, vLLM's
    graphs, torch's and Triton's."""
    folder = gpus.cache_dir.expanduser()
    return {
        "CUDA_CACHE_PATH": str(folder / "kernels"),
        "CUDA_CACHE_MAXSIZE": str(4 << 30),
        "VLLM_CACHE_ROOT": str(folder / "vllm"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TRITON_CACHE_DIR": str(folder / "triton"),
    }
