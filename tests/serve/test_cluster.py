from __future__ import annotations

import shlex
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from models.settings import SettingsError
from serve.cli import app
from serve.cluster import check_cluster, pool_application, serve_config
from serve.config import STACKS, GatewaySettings, load_stack
from serve.pools import ScalingSettings
from serve.ray_switches import ray_switches
from serve.secrets import PUBLIC_URL_VARIABLE, TOKEN_VARIABLE
from serve.traffic_split import ROOT
from serve.upkeep import STORE_VARIABLE

DEPLOY = ROOT / "configs" / "deploy"
CLUSTER = STACKS / "cluster.yaml"
STORE = "postgresql://trunkline:secret@store/trunkline"


@pytest.fixture(autouse=True)
def _store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORE_VARIABLE, STORE)


def contents(config: str) -> dict[str, str]:
    return {each["name"]: each["args"]["content"] for each in yaml.safe_load(config)["applications"]}


def changed(tmp_path: Path, old: str, new: str) -> dict[str, str]:
    """Digests of the pools of the shipped cluster's file with something changed in it."""
    text = CLUSTER.read_text()
    assert old in text
    file = tmp_path / "cluster.yaml"
    file.write_text(text.replace(old, new, 1))
    return contents(serve_config(file, CLUSTER))


def test_every_pool_is_an_application_of_its_own() -> None:
    config = yaml.safe_load(serve_config(CLUSTER, Path("/opt/cluster.yaml")))
    applications = {each["name"]: each for each in config["applications"]}
    assert set(applications) == {*load_stack(CLUSTER).deployments(), "Gateway"}
    assert applications["Gateway"]["route_prefix"] == "/"
    assert {each["route_prefix"] for name, each in applications.items() if name != "Gateway"} == {None}
    assert {each["args"]["stack"] for each in applications.values()} == {"/opt/cluster.yaml"}
    assert {each["import_path"] for each in applications.values()} == {"serve.cluster:pool_application"}


@pytest.mark.parametrize(
    ("old", "new", "upgraded"),
    [
        ("max_calls: 64", "max_calls: 48", {"Gateway"}),
        ("max_batch_size: 16\n  batch_wait_ms: 4", "max_batch_size: 8\n  batch_wait_ms: 4", {"SpeechToText"}),
        ("profile: structured", "profile: one_step", {"Understanding"}),
        ("# A call takes", "# A telephone call takes", set()),
    ],
)
def test_only_the_pools_whose_settings_changed_are_upgraded(
    old: str, new: str, upgraded: set[str], tmp_path: Path
) -> None:
    before = contents(serve_config(CLUSTER, CLUSTER))
    after = changed(tmp_path, old, new)
    assert {name for name in before if before[name] != after[name]} == upgraded


def test_another_agent_upgrades_every_pool(tmp_path: Path) -> None:
    before = contents(serve_config(CLUSTER, CLUSTER))
    after = changed(tmp_path, "configs/agents/dental.yaml", "configs/agents/salon.yaml")
    assert all(before[name] != after[name] for name in before)


def test_gateways_on_several_machines_need_a_store_that_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORE_VARIABLE, "sqlite:///calls.db")
    with pytest.raises(SettingsError, match=r"share postgresql://.*got another kind of store"):
        check_cluster(load_stack(CLUSTER))
    monkeypatch.delenv(STORE_VARIABLE)
    with pytest.raises(SettingsError, match="got nothing"):
        check_cluster(load_stack(CLUSTER))


def test_a_stand_in_for_the_business_does_not_run_on_a_cluster() -> None:
    with pytest.raises(SettingsError, match="back_office: a stand-in runs beside a stack on one machine"):
        check_cluster(load_stack(STACKS / "embedded.yaml"))


def test_a_pool_is_not_built_without_the_carriers_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (TOKEN_VARIABLE, PUBLIC_URL_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match="TWILIO_AUTH_TOKEN and TRUNKLINE_PUBLIC_URL are missing on the head node"):
        pool_application({"stack": str(CLUSTER), "pool": "Router", "content": "1"})


def test_new_gateways_find_ports_while_the_old_ones_end_their_calls() -> None:
    gateway = GatewaySettings(port=9000, scaling=ScalingSettings(most=4, target_ongoing=8))
    switches = ray_switches(gateway)
    assert switches["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"] == "9000"
    assert switches["RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"] == "9008"


def test_the_command_writes_what_serve_takes_and_nodes_are_started_with() -> None:
    run = CliRunner()
    written = run.invoke(app, ["cluster", "config", str(CLUSTER), "--at", "/opt/cluster.yaml"])
    assert yaml.safe_load(written.output) == yaml.safe_load(serve_config(CLUSTER, Path("/opt/cluster.yaml")))
    exported = run.invoke(app, ["cluster", "env", str(CLUSTER)]).output.splitlines()
    assert "export RAY_AUTH_MODE=token" in exported
    refused = run.invoke(app, ["cluster", "config", str(STACKS / "embedded.yaml")])
    assert refused.exit_code == 1
    assert "back_office: a stand-in" in refused.output


# --- configs/deploy ---------------------------------------------------------------------------------------------------

_TEXT = {"type": "string"}
_POD = {
    "type": "object",
    "additionalProperties": False,
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["containers"],
            "properties": {
                "containers": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["name", "image", "resources"],
                        "properties": {
                            "name": _TEXT,
                            "image": _TEXT,
                            "env": {
                                "type": "array",
                                "items": {"required": ["name", "value"], "properties": {"value": _TEXT}},
                            },
                            "envFrom": {"type": "array"},
                            "volumeMounts": {"type": "array", "items": {"required": ["name", "mountPath"]}},
                            "resources": {"type": "object"},
                        },
                    },
                },
                "volumes": {"type": "array", "items": {"required": ["name"]}},
                "terminationGracePeriodSeconds": {"type": "integer"},
            },
        }
    },
}
_STARTED = {"type": "object", "additionalProperties": _TEXT}
RAY_SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayService"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "rayClusterDeletionDelaySeconds": {"type": "integer"},
                "excludeHeadPodFromServeSvc": {"type": "boolean"},
                "serveConfigV2": _TEXT,
                "rayClusterConfig": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["headGroupSpec"],
                    "properties": {
                        "rayVersion": _TEXT,
                        "headGroupSpec": {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["template"],
                            "properties": {"rayStartParams": _STARTED, "template": _POD},
                        },
                        "workerGroupSpecs": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "additionalProperties": False,
                                "required": ["groupName", "minReplicas", "maxReplicas", "template"],
                                "properties": {
                                    "groupName": _TEXT,
                                    "replicas": {"type": "integer"},
                                    "minReplicas": {"type": "integer"},
                                    "maxReplicas": {"type": "integer"},
                                    "rayStartParams": _STARTED,
                                    "template": _POD,
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
"""The part of KubeRay's CRD for RayService (v1, at feeaf72fa) that the manifest uses. On 2026-11-28 the manifest was
checked against the whole of it: no error, no unknown key."""


def test_the_manifest_fits_what_kuberay_takes_and_what_the_command_writes() -> None:
    manifest = yaml.safe_load((DEPLOY / "rayservice.yaml").read_text())
    jsonschema.validate(manifest, RAY_SERVICE)
    # Digests change with the agents; the command makes them anew for whoever deploys.
    told, made = (
        yaml.safe_load(text)
        for text in (
            manifest["spec"]["serveConfigV2"],
            serve_config(CLUSTER, Path("/opt/trunkline/configs/stacks/cluster.yaml")),
        )
    )
    for config in (told, made):
        for application in config["applications"]:
            application["args"].pop("content")
    assert told == made
    cluster = manifest["spec"]["rayClusterConfig"]
    templates = [cluster["headGroupSpec"]["template"], *(group["template"] for group in cluster["workerGroupSpecs"])]
    switches = ray_switches(load_stack(CLUSTER).gateway)
    for template in templates:
        (container,) = template["spec"]["containers"]
        assert {each["name"]: each["value"] for each in container["env"]} == switches


def test_what_images_and_units_name_is_there() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    copied = [shlex.split(line)[1:-1] for line in dockerfile.splitlines() if line.startswith("COPY")]
    assert all((ROOT / source).exists() for sources in copied for source in sources)
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for service in ("cpu", "gpu"):
        build = compose["services"][service]["build"]
        assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    unit = (DEPLOY / "trunkline.service").read_text()
    (started,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    options = CliRunner().invoke(app, ["serve", "--help"]).output
    assert all(word in options for word in shlex.split(started) if word.startswith("--"))
