"""A stack on a cluster: Ray's nodes are somebody else's, Serve gets a config, and this process starts nothing.

`trunkline cluster config` writes what `serve deploy` (or KubeRay's RayService) takes; it names the builder below, which
runs on the cluster. `trunkline cluster env` writes what the nodes must be started with.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import JsonValue

from models.settings import SettingsError, StrictModel
from models.weights import home_folder
from serve.build import GATEWAY, pool
from serve.config import Stack, load_stack
from serve.secrets import PUBLIC_URL_VARIABLE, TOKEN_VARIABLE, read_secrets
from serve.traffic_split import check_voices, hearable, load_traffic_split

if TYPE_CHECKING:
    from ray.serve import Application

RUNS_VARIABLE = "TRUNKLINE_RUNS"
"""Where each node's gateways save calls; a relative `gateway.runs_dir` would begin in Ray's own folder."""
LINES_VARIABLE = "TRUNKLINE_LINES"
"""Where spoken fixed lines are kept: on a volume that the gateways share, they are made once for all of them."""
PROXY_PORT = 8000
"""Serve's own proxy listens here, on every node's loopback; calls go to the gateways' own ports."""


class PoolArguments(StrictModel):
    """What the builder is told, in the Serve config."""

    stack: str
    """The stack file, as it lies on every node."""
    pool: str
    """Which of its pools."""
    content: str
    """Digest of what the pool is made of: Serve upgrades what its config shows as changed, and reads no files."""


def pool_application(args: dict[str, str]) -> Application:
    """A pool's application; Serve calls it on the cluster. Raises SettingsError."""
    chosen = PoolArguments.model_validate(args)
    stack = load_stack(Path(chosen.stack))
    secrets = read_secrets()
    if secrets is None:
        raise SettingsError(f"environment: {TOKEN_VARIABLE} and {PUBLIC_URL_VARIABLE} are missing on the head node")
    check_cluster(stack)
    traffic, _ = hearable(load_traffic_split(stack, None), stack.speech_to_text.weights)
    check_voices(traffic, stack.text_to_speech.weights)
    runs_dir = Path(os.environ.get(RUNS_VARIABLE) or stack.gateway.runs_dir).absolute()
    lines_dir = Path(os.environ.get(LINES_VARIABLE) or home_folder() / "lines").absolute()
    return pool(chosen.pool, stack, traffic, secrets, runs_dir=runs_dir, cache_dir=lines_dir)


def check_cluster(stack: Stack) -> None:
    """Raises SettingsError if the stack can run on one machine only."""
    if stack.back_office is not None:
        raise SettingsError(
            "back_office: a stand-in runs beside a stack on one machine; lead the agent's connections to real systems"
        )
    many = stack.gateway.scaling.most > 1 if stack.gateway.scaling else stack.gateway.replicas > 1
    store = stack.gateway.store or os.environ.get("TRUNKLINE_STORE", "")
    if many and not store.startswith("postgresql://"):
        raise SettingsError(
            "gateway.store: gateways on several machines share postgresql://USER:PASSWORD@HOST/NAME (or "
            f"TRUNKLINE_STORE); got {'nothing' if not store else 'another kind of store'}"
        )


def serve_config(file: Path, at: Path) -> str:
    """The Serve config of the stack file, which lies `at` that path on every node, as YAML. Raises SettingsError."""
    stack = load_stack(file)
    check_cluster(stack)
    agents = "".join(load_traffic_split(stack, None).agents())
    contents = {name: part.model_dump_json() + agents for name, part in stack.deployments().items()}
    # A gateway speaks with what the models' settings say of them.
    contents[GATEWAY] = stack.gateway.model_dump_json() + agents + stack.text_to_speech.weights
    applications: list[JsonValue] = [
        {
            "name": name,
            "route_prefix": "/" if name == GATEWAY else None,
            "import_path": f"{__name__}:{pool_application.__name__}",
            "args": {"stack": str(at), "pool": name, "content": sha256(content.encode()).hexdigest()[:16]},
        }
        for name, content in contents.items()
    ]
    config: dict[str, JsonValue] = {
        "proxy_location": "HeadOnly",
        "http_options": {"host": stack.gateway.host, "port": PROXY_PORT},
        "logging_config": {"log_level": "WARNING", "enable_access_log": False},
        "applications": applications,
    }
    return yaml.safe_dump(config, sort_keys=False)
