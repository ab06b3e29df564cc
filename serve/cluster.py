"""A stack on a cluster: Ray's nodes are somebody else's, Serve gets a config, and this process starts nothing.

`trunkline cluster config` writes what `serve deploy` (or KubeRay's RayService) takes; it names the two builders below,
which run on the cluster. `trunkline cluster env` writes what the nodes must be started with.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import JsonValue

from models.settings import SettingsError, StrictModel
from models.weights import home_folder
from serve.build import GATEWAY_APP, Applications, build
from serve.config import Stack, load_stack
from serve.handles import MODELS_APP
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


class ClusterArguments(StrictModel):
    """What the builders are told, in the Serve config."""

    stack: str
    """The stack file, as it lies on every node."""


def models(args: dict[str, str]) -> Application:
    """The models' application; Serve calls it on the cluster. Raises SettingsError."""
    return _applications(args).models


def gateway(args: dict[str, str]) -> Application:
    """The gateways' application, likewise: a redeployment of the models touches no call, one of it no model."""
    return _applications(args).gateway


def _applications(args: dict[str, str]) -> Applications:
    stack = load_stack(Path(ClusterArguments.model_validate(args).stack))
    secrets = read_secrets()
    if secrets is None:
        raise SettingsError(f"environment: {TOKEN_VARIABLE} and {PUBLIC_URL_VARIABLE} are missing on the head node")
    check_cluster(stack)
    traffic, _ = hearable(load_traffic_split(stack, None), stack.speech_to_text.weights)
    check_voices(traffic, stack.text_to_speech.weights)
    runs_dir = Path(os.environ.get(RUNS_VARIABLE) or stack.gateway.runs_dir).absolute()
    lines_dir = Path(os.environ.get(LINES_VARIABLE) or home_folder() / "lines").absolute()
    return build(stack, traffic, secrets, runs_dir=runs_dir, cache_dir=lines_dir)


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


def serve_config(stack: Stack, file: Path) -> str:
    """The Serve config of a stack that lies at `file` on every node, as YAML. Raises SettingsError."""
    check_cluster(stack)

    def application(name: str, route: str | None, builder: str) -> dict[str, JsonValue]:
        return {
            "name": name,
            "route_prefix": route,
            "import_path": f"{__name__}:{builder}",
            "args": {"stack": str(file)},
        }

    config: dict[str, JsonValue] = {
        "proxy_location": "HeadOnly",
        "http_options": {"host": stack.gateway.host, "port": PROXY_PORT},
        "logging_config": {"log_level": "WARNING", "enable_access_log": False},
        "applications": [
            application(MODELS_APP, None, models.__name__),
            application(GATEWAY_APP, "/", gateway.__name__),
        ],
    }
    return yaml.safe_dump(config, sort_keys=False)
