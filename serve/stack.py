"""Starting and stopping a single-machine stack: a Ray node of its own, and the Serve applications on it."""

from __future__ import annotations

import errno
import json
import logging
import os
import secrets as randomness
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import psutil
from pydantic import Field, SecretStr, ValidationError

from models.settings import StrictModel
from serve.back_office import BackOfficeError, at_port, back_office
from serve.build import GATEWAY, build
from serve.cards import CardError, check_gpus
from serve.config import GatewaySettings, Stack
from serve.hosted.keys import check_keys
from serve.ray_switches import ray_switches
from serve.secrets import Secrets
from serve.traffic_split import TrafficSplit, check_voices, hearable

POLL_S = 0.2
PORTS_TRIED = 100
GRACE_S = 5.0
"""Processes that Ray has told to end get this long before they are killed."""
SAME_START_S = 2.0
"""A process's start is known to within the clock's corrections since boot."""
LONGEST_SOCKET_FOLDER = 40
"""Ray puts Unix sockets some 60 characters below its folder, and their paths end at 107."""

Progress = Callable[[str], None]
"""Told what has just come up, one short line at a time."""


class StackError(RuntimeError):
    """The stack cannot start, or went down: says what was expected, what was found, what to do."""


class StackState(StrictModel):
    """What a second command must know of a stack that is up; kept in a file that only its owner reads."""

    pid: int
    """The process that started it."""
    started_s: float
    """When that process started, seconds since the epoch: process ids are used again."""
    stack: str
    agent: str
    url: str
    """Where the gateway listens, on this machine."""
    public_url: str
    twilio_auth_token: str = Field(repr=False)
    runs_dir: Path
    back_office_url: str | None = None
    """Of the stand-in for the business's systems, if the stack has one."""

    def secrets(self) -> Secrets:
        return Secrets(twilio_auth_token=SecretStr(self.twilio_auth_token), public_url=self.public_url)


def reset_back_office(state: StackState) -> None:
    """Bring the stand-in for the business's systems back to where it began. Raises StackError if it does not answer."""
    if state.back_office_url is None:
        return
    try:
        httpx.post(f"{state.back_office_url}/reset", timeout=10, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        raise StackError(f"the back office at {state.back_office_url} does not answer: {error}") from error


def state_file(home: Path) -> Path:
    return home / "stack.json"


def find_running(home: Path) -> StackState | None:
    """The stack that is up on this machine under this home, or None; the file of one that died is removed."""
    path = state_file(home)
    try:
        state = StackState.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise StackError(f"{path}: expected the state of a running stack; {error}; remove the file") from error
    with suppress(psutil.NoSuchProcess):
        if abs(psutil.Process(state.pid).create_time() - state.started_s) < SAME_START_S:
            return state
    path.unlink(missing_ok=True)
    return None


def check_memory(stack: Stack, available_bytes: int | None = None) -> None:
    """Raises StackError if the machine has less memory available than the stack needs."""
    available_mb = (psutil.virtual_memory().available if available_bytes is None else available_bytes) // 2**20
    needed_mb = stack.memory_mb()
    if available_mb < needed_mb:
        parts = {name: part.memory_mb * part.least_replicas for name, part in stack.deployments().items()}
        parts |= {"Gateway": stack.gateway.memory_mb * stack.gateway.replicas}
        parts |= {"Ray": stack.ray.overhead_mb + stack.ray.object_store_mb}
        listed = ", ".join(f"{name} {size} MB" for name, size in parts.items())
        raise StackError(
            f"too little memory: the stack '{stack.name}' needs {needed_mb} MB ({listed}), {available_mb} MB are "
            "available; end other programs, or lower replicas, kv_cache_mb or memory_mb in the stack file"
        )


def check_ports(gateway: GatewaySettings) -> None:
    """Raises StackError if a port of the gateway is taken."""
    for port in range(gateway.port, gateway.port + gateway.replicas):
        try:
            if _listens(gateway.host, port):
                raise OSError(errno.EADDRINUSE, "another program listens there")
            with socket.socket() as probe:
                # As the gateway binds it: connections of an earlier run that are still closing do not count.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                probe.bind((gateway.host, port))
        except OSError as error:
            raise StackError(
                f"port in use: the gateway cannot listen on {gateway.host}:{port} ({error.strerror}); "
                "end the program that uses it, or set gateway.port in the stack file or --port"
            ) from error


def usable_port(gateway: GatewaySettings) -> int:
    """The gateway's port, or if it is taken the next one that is not. Raises StackError if a hundred are taken.

    Not a port that the system picks: by the time the gateway binds it, Ray might have been given it.
    """
    for port in range(gateway.port, gateway.port + PORTS_TRIED - 1):
        with suppress(StackError):
            check_ports(gateway.model_copy(update={"port": port}))
            return port
    last = gateway.model_copy(update={"port": gateway.port + PORTS_TRIED - 1})
    check_ports(last)
    return last.port


@contextmanager
def running_stack(
    stack: Stack,
    traffic: TrafficSplit,
    secrets: Secrets,
    *,
    home: Path,
    runs_dir: Path,
    progress: Progress = lambda line: None,
) -> Iterator[StackState]:
    """Start the stack, hand out its state once it answers calls, and stop every process of it at the end.

    Further languages that its Whisper does not hear are left out, and `progress` is told so. Raises SettingsError if an
    agent cannot answer at all or the key of a hosted model is missing, StackError if it cannot start; what had come up
    by then is stopped.
    """
    traffic, left_out = hearable(traffic, stack.speech_to_text.weights)
    check_voices(traffic, stack.text_to_speech.weights)
    check_keys(stack.hosted())
    for line in left_out:
        progress(line)
    up = find_running(home)
    if up is not None:
        raise StackError(f"a stack is already up: '{up.stack}', process {up.pid}, at {up.url}; stop that one first")
    check_ports(stack.gateway)
    check_memory(stack)
    try:
        check_gpus(stack)
    except CardError as error:
        raise StackError(str(error)) from error
    url = f"http://{stack.gateway.host}:{stack.gateway.port}"
    state = StackState(
        pid=os.getpid(),
        started_s=psutil.Process().create_time(),
        stack=stack.name,
        agent=traffic.first.name,
        url=url,
        public_url=secrets.public_url,
        twilio_auth_token=secrets.twilio_auth_token.get_secret_value(),
        runs_dir=runs_dir,
    )
    with ExitStack() as undo:
        folder = _ray_folder(home)
        if stack.back_office is not None:
            port = usable_port(stack.gateway.model_copy(update={"port": stack.back_office.port, "replicas": 1}))
            undo.enter_context(_told(back_office(stack.back_office, port, folder / "back_office.log")))
            office = stack.back_office
            traffic = traffic.changed(lambda agent: at_port(agent, office, port))
            state = state.model_copy(update={"back_office_url": f"http://127.0.0.1:{port}"})
            progress(f"BackOffice ({stack.back_office.name}) is up")
        undo.enter_context(_environment(ray_environment(stack.gateway)))
        undo.enter_context(_ray_node(stack, folder))
        progress("Ray is up")
        _deploy(stack, traffic, secrets, runs_dir, home)
        _wait_until_ready(stack, url, folder, progress)
        _write_state(state, home)
        undo.callback(_remove_state, home)
        yield state
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _told(office: AbstractContextManager[None]) -> Iterator[None]:
    with ExitStack() as undo:
        try:
            undo.enter_context(office)
        except BackOfficeError as error:
            raise StackError(str(error)) from error
        yield


def wait_for_calls_to_end(drain_s: float) -> None:
    """Take the gateway down; calls under way go on until they end, at most for `drain_s`."""
    from ray import serve

    serve.delete(GATEWAY, _blocking=False)
    until_s = time.monotonic() + drain_s
    while GATEWAY in serve.status().applications and time.monotonic() < until_s:
        time.sleep(POLL_S)


def _deploy(stack: Stack, traffic: TrafficSplit, secrets: Secrets, runs_dir: Path, home: Path) -> None:
    from ray import serve
    from ray.serve.api import RunTarget

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(
        http_options={"host": stack.gateway.host, "port": free_port(stack.gateway.host)},
        proxy_location="HeadOnly",
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )
    applications = build(stack, traffic, secrets, runs_dir=runs_dir, cache_dir=home / "lines")
    serve.run_many(
        [
            RunTarget(target=application, name=name, route_prefix="/" if name == GATEWAY else None)
            for name, application in applications.items()
        ],
        wait_for_applications_running=False,
        wait_for_ingress_deployment_creation=False,
    )


def _wait_until_ready(stack: Stack, url: str, ray_folder: Path, progress: Progress) -> None:
    from ray import serve

    began_s = time.monotonic()
    told: set[str] = set()
    waiting_for = "the deployments"
    while (waited_s := time.monotonic() - began_s) < stack.start.timeout_s:
        for name, application in serve.status().applications.items():
            for deployment, status in application.deployments.items():
                if status.status == "HEALTHY" and deployment not in told:
                    told.add(deployment)
                    progress(f"{deployment} is up")
            if application.status in ("DEPLOY_FAILED", "UNHEALTHY"):
                faults = {d: s.message for d, s in application.deployments.items() if s.status != "HEALTHY"}
                raise StackError(_failure(name, faults, application.message, ray_folder))
        try:
            answer = httpx.get(f"{url}/readyz", timeout=5.0, trust_env=False)
            if answer.status_code == httpx.codes.OK:
                for deployment in sorted(set(stack.deployments()) - told):
                    progress(f"{deployment} is up")
                return
            waiting_for = answer.text[:500]
        except httpx.TransportError as error:
            waiting_for = f"the gateway at {url} ({type(error).__name__})"
        time.sleep(POLL_S)
    raise StackError(f"the stack is not ready after {waited_s:.0f} s; still waiting for {waiting_for}")


def _failure(application: str, faults: Mapping[str, str], message: str, ray_folder: Path) -> str:
    """Serve's messages end with what was raised; the traceback before it is in the logs."""
    told = [f"{name}: {text.strip().splitlines()[-1]}" for name, text in faults.items() if text.strip()]
    shown = "\n  ".join(told) or message.strip()
    return f"the application '{application}' could not start:\n  {shown}\nRay's logs: {ray_folder}"


@contextmanager
def _ray_node(stack: Stack, folder: Path) -> Iterator[None]:
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    before = set(psutil.Process().children(recursive=True))
    try:
        ray.init(
            address="local",
            num_cpus=stack.ray.num_cpus,
            object_store_memory=stack.ray.object_store_mb * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
            _temp_dir=str(folder),
        )
        yield
    finally:
        started = set(psutil.Process().children(recursive=True)) - before
        ray.shutdown()
        _end(started)


def _end(processes: set[psutil.Process]) -> None:
    """See to it that none of these processes lives on; an engine that was still loading may not know it is over."""
    _, alive = psutil.wait_procs(processes, timeout=GRACE_S)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=GRACE_S)


def ray_environment(gateway: GatewaySettings) -> dict[str, str]:
    """The switches, and a token for this run: without it nobody gets a word in on the ports that Ray's processes open
    on all interfaces."""
    return ray_switches(gateway) | {"RAY_AUTH_TOKEN": randomness.token_hex(32)}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _ray_folder(home: Path) -> Path:
    """A folder for this process's Ray sessions; those of processes that are gone are removed.

    After a clean end the folder is removed; after a failure it stays, with Ray's logs, until the next start.
    """
    root = home / "ray"
    if len(str(root)) > LONGEST_SOCKET_FOLDER:
        root = Path(tempfile.gettempdir()) / f"trunkline-ray-{os.getuid()}"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in root.iterdir():
        if old.name.isdigit() and not psutil.pid_exists(int(old.name)):
            shutil.rmtree(old, ignore_errors=True)
    folder = root / str(os.getpid())
    folder.mkdir(exist_ok=True)
    return folder


def _write_state(state: StackState, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    path = state_file(home)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(state.model_dump(mode="json"), file)
    draft.replace(path)


def _remove_state(home: Path) -> None:
    state_file(home).unlink(missing_ok=True)


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def free_port(host: str) -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
