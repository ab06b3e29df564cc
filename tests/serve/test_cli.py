from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from models.own_weights import settle
from models.registry import load_registry
from models.settings import SettingsError
from models.weights import prepare_all
from serve.cli import app
from serve.config import EMBEDDED_STACK, load_stack
from serve.preflight import preflight
from serve.secrets import local_secrets, read_secrets
from serve.stack import StackError, StackState, check_memory, check_ports, find_running, running_stack, state_file
from serve.traffic_split import ROOT, load_traffic_split
from tests.models.weights import KINDS, folder_of
from tests.serve.example_run import ExampleCall

STACK = load_stack(EMBEDDED_STACK)


@pytest.fixture
def run() -> CliRunner:
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ([], ["serve", "call", "check", "models"]),
        (["serve"], ["--stack", "--agent", "--port", "TWILIO_AUTH_TOKEN", "TRUNKLINE_PUBLIC_URL"]),
        (["call"], ["--script", "--agent", "--stack", "expectations"]),
        (["check"], ["--quick", "exit 1"]),
        (["models"], ["list", "add", "prepare", "verify"]),
        (["models", "prepare"], ["--repair", "Resumes"]),
    ],
)
def test_help_says_what_a_command_does(run: CliRunner, command: list[str], told: list[str]) -> None:
    result = run.invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    for word in told:
        assert word in result.output


def test_report_is_written_for_a_saved_call_and_refused_for_another_folder(run: CliRunner, tmp_path: Path) -> None:
    ExampleCall().build().write(tmp_path)
    assert run.invoke(app, ["report", str(tmp_path)]).exit_code == 0
    assert (tmp_path / "report.html").stat().st_size > 10_000
    (tmp_path / "empty").mkdir()
    refused = run.invoke(app, ["report", str(tmp_path / "empty")])
    assert refused.exit_code == 2
    assert "events.jsonl" in refused.output


def test_models_list_shows_every_entry_with_its_licence(run: CliRunner) -> None:
    output = run.invoke(app, ["models", "list"]).output
    for name, entry in load_registry().entries.items():
        assert name in output
        assert entry.licence.split()[0] in output


def test_weights_of_ones_own_are_added_listed_prepared_and_verified(
    run: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    folder = folder_of("encoder", tmp_path / "encoder")
    (folder / "model.onnx").rename(tmp_path / "model.onnx")
    refused = run.invoke(app, ["models", "add", "team.yaml#mine", "encoder", "./encoder"])
    assert refused.exit_code == 2
    assert "found no model.onnx" in refused.output
    (tmp_path / "model.onnx").rename(folder / "model.onnx")
    added = run.invoke(app, ["models", "add", "team.yaml#mine", "encoder", "./encoder"])
    assert added.exit_code == 0
    assert "weights: team.yaml#mine" in added.output
    assert "A sentence encoder of one's own" in run.invoke(app, ["models", "list", "team.yaml"]).output
    assert run.invoke(app, ["models", "prepare", "team.yaml#mine"]).exit_code == 0
    assert run.invoke(app, ["models", "verify", "team.yaml#mine"]).exit_code == 0


def test_weights_of_ones_own_stand_straight_in_the_stack_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    text = EMBEDDED_STACK.read_text()
    for name, entry in load_registry().entries.items():
        if f"weights: {name}\n" in text and entry.kind is not None:
            folder_of(entry.kind, tmp_path / "weights" / entry.kind)
            text = text.replace(f"weights: {name}\n", f"weights: ../weights/{entry.kind}\n")
    file = tmp_path / "stacks" / "own.yaml"
    file.parent.mkdir()
    file.write_text(text)
    stack = load_stack(file)
    assert stack.weights() == {str(tmp_path / "weights" / kind): kind for kind in KINDS}

    settle(stack.weights())
    prepare_all(stack.weights())
    checked = {finding.what: finding for finding in preflight(file, None, every_byte=True)}
    assert all(checked[f"weights {tmp_path}/weights/{kind}"].ok for kind in KINDS)


def test_a_missing_key_of_a_hosted_model_is_told_by_check_and_before_anything_is_fetched_or_started(
    run: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    fallback = "  fallback: {hosted: {provider: deepgram, key_env: A_KEY_OF_OURS}}\n"
    file = tmp_path / "own.yaml"
    file.write_text(EMBEDDED_STACK.read_text().replace("speech_to_text:\n", f"speech_to_text:\n{fallback}"))
    told = "A_KEY_OF_OURS: missing or empty"
    (finding,) = [one for one in preflight(file, None, every_byte=False) if one.what == "hosted models"]
    assert (finding.ok, told in finding.found) == (False, True)
    for command in ("serve", "call"):
        result = run.invoke(app, [command, "--stack", str(file)])
        assert result.exit_code == 2
        assert told in result.output
        assert "Traceback" not in result.output
    monkeypatch.setenv("A_KEY_OF_OURS", "k")
    (finding,) = [one for one in preflight(file, None, every_byte=False) if one.what == "hosted models"]
    assert (finding.ok, finding.found) == (True, "deepgram stands in for speech_to_text")
    assert not [one for one in preflight(EMBEDDED_STACK, None, every_byte=False) if one.what == "hosted models"]


def test_weights_that_are_not_there_or_of_another_kind_are_told_by_check_and_before_anything_starts(
    run: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path / "home"))
    folder_of("whisper", tmp_path / "ears")
    for named, told in (
        ("./nowhere", f"{tmp_path}/nowhere: expected a folder of llm weights, found none"),
        ("./ears", "found no tokenizer_config.json"),
        ("whisper-base", "its place in the stack file wants llm weights, found whisper weights"),
    ):
        file = tmp_path / "own.yaml"
        file.write_text(EMBEDDED_STACK.read_text().replace("qwen2.5-coder-1.5b-instruct-int8", named))
        assert any(told in finding.found for finding in preflight(file, None, every_byte=False) if not finding.ok)
        for command in (["serve"], ["call"], ["models", "prepare"]):
            result = run.invoke(app, [*command, "--stack", str(file)])
            assert result.exit_code == 2
            assert told in result.output
            assert "Traceback" not in result.output


def test_an_unknown_key_in_the_stack_file_is_told_without_a_traceback(run: CliRunner, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(EMBEDDED_STACK.read_text().replace("port: 8080", "prot: 8080"))
    result = run.invoke(app, ["call", "--stack", str(broken)])
    assert result.exit_code == 2
    assert "gateway.prot: unknown key" in result.output
    assert "Traceback" not in result.output


def test_weights_of_an_unknown_name_are_told(run: CliRunner) -> None:
    result = run.invoke(app, ["models", "verify", "gpt-99"])
    assert result.exit_code == 2
    assert "gpt-99" in result.output


def test_check_finds_everything_that_is_amiss_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "half of what is needed")
    monkeypatch.delenv("TRUNKLINE_PUBLIC_URL", raising=False)
    agent = tmp_path / "agent.yaml"
    agent.write_text("name: 5")
    findings = {finding.what: finding for finding in preflight(EMBEDDED_STACK, agent, every_byte=False)}
    amiss = {what for what, finding in findings.items() if not finding.ok}
    assert {"agents", "npm", "Twilio", "weights whisper-tiny.en"} <= amiss
    assert "name: Input should be a valid string" in findings["agents"].found
    assert "trunkline models prepare" in findings["weights whisper-tiny.en"].found


def test_too_little_memory_is_told_before_anything_starts() -> None:
    with pytest.raises(StackError) as error:
        check_memory(STACK, available_bytes=1000 * 2**20)
    told = str(error.value)
    assert f"needs {STACK.memory_mb()} MB" in told
    assert "1000 MB are available" in told
    assert "Understanding 4400 MB" in told
    check_memory(STACK, available_bytes=STACK.memory_mb() * 2**20)


def test_a_port_in_use_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        gateway = STACK.gateway.model_copy(update={"port": port})
        with pytest.raises(StackError, match=f"port in use: the gateway cannot listen on 127.0.0.1:{port}"):
            check_ports(gateway)
        stack = STACK.model_copy(update={"gateway": gateway})
        with pytest.raises(StackError, match="port in use"):
            with running_stack(
                stack, load_traffic_split(stack), local_secrets(), home=tmp_path, runs_dir=tmp_path / "runs"
            ):
                pytest.fail("it started")
    assert not state_file(tmp_path).exists()


def state(pid: int, *, started_s: float | None = None) -> StackState:
    return StackState(
        pid=pid,
        started_s=psutil.Process(pid).create_time() if started_s is None else started_s,
        stack="embedded",
        agent="Bright Dental",
        url="http://127.0.0.1:8080",
        public_url="https://trunkline.localhost",
        twilio_auth_token="a-secret-token",
        runs_dir=Path("runs"),
    )


def test_the_state_of_a_stack_that_died_is_forgotten_also_if_its_process_id_is_used_again(tmp_path: Path) -> None:
    over = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
    for pid in (int(over.stdout), os.getpid()):
        state_file(tmp_path).write_text(state(pid, started_s=1_000_000.0).model_dump_json())
        assert find_running(tmp_path) is None
        assert not state_file(tmp_path).exists()


def test_the_state_of_a_running_stack_is_found_and_keeps_its_secret(tmp_path: Path) -> None:
    state_file(tmp_path).write_text(state(os.getpid()).model_dump_json())
    found = find_running(tmp_path)
    assert found is not None
    assert found.secrets().twilio_auth_token.get_secret_value() == "a-secret-token"
    assert "a-secret-token" not in repr(found)
    assert "a-secret-token" not in repr(found.secrets())


def test_a_second_stack_is_refused_while_one_is_up(tmp_path: Path) -> None:
    state_file(tmp_path).write_text(state(os.getpid()).model_dump_json())
    with pytest.raises(StackError, match="already up"):
        with running_stack(
            STACK, load_traffic_split(STACK), local_secrets(), home=tmp_path, runs_dir=tmp_path / "runs"
        ):
            pytest.fail("it started")
    assert state_file(tmp_path).exists()


def test_the_state_file_is_its_owners_alone(tmp_path: Path) -> None:
    from serve.stack import _write_state

    _write_state(state(os.getpid()), tmp_path)
    assert stat.S_IMODE(state_file(tmp_path).stat().st_mode) == 0o600
    assert json.loads(state_file(tmp_path).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"TWILIO_AUTH_TOKEN": "t"}, "TRUNKLINE_PUBLIC_URL: missing"),
        ({"TRUNKLINE_PUBLIC_URL": "https://x.example"}, "TWILIO_AUTH_TOKEN: missing"),
        ({"TWILIO_AUTH_TOKEN": "t", "TRUNKLINE_PUBLIC_URL": "http://x.example"}, "expected https://"),
        ({"TWILIO_AUTH_TOKEN": "t", "TRUNKLINE_PUBLIC_URL": "https://x.example/path"}, "without a path"),
        ({"TWILIO_AUTH_TOKEN_FILE": "/nowhere", "TRUNKLINE_PUBLIC_URL": "https://x.example"}, "cannot be read"),
    ],
)
def test_half_a_connection_to_twilio_is_told(environment: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        read_secrets(environment)


def test_secrets_come_from_environment_or_file(tmp_path: Path) -> None:
    assert read_secrets({}) is None
    file = tmp_path / "token"
    file.write_text("from-a-file\n")
    for variables in ({"TWILIO_AUTH_TOKEN": "from-a-file"}, {"TWILIO_AUTH_TOKEN_FILE": str(file)}):
        secrets = read_secrets({**variables, "TRUNKLINE_PUBLIC_URL": "https://x.example/"})
        assert secrets is not None
        assert secrets.twilio_auth_token.get_secret_value() == "from-a-file"
        assert secrets.public_url == "https://x.example"


def test_an_agent_with_errors_takes_no_calls(tmp_path: Path) -> None:
    agent = tmp_path / "agent.yaml"
    agent.write_text((ROOT / "docs/examples/shop.yaml").read_text().replace("failed: down", "failed: clear"))
    findings = {finding.what: finding for finding in preflight(EMBEDDED_STACK, agent, every_byte=False)}
    assert not findings["agents"].ok
    assert "ends without a word about the failure" in findings["agents"].found
