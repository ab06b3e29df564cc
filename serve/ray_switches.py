"""What Ray's processes must be started with, some of it as early as Ray's import."""

from __future__ import annotations

from serve.config import GatewaySettings


def ray_switches(gateway: GatewaySettings) -> dict[str, str]:
    """By the environment's variables. Every node of a cluster takes the same, and a RAY_AUTH_TOKEN that they share."""
    most = gateway.scaling.most if gateway.scaling else gateway.replicas
    return {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        # Media goes straight to the gateway's replica, on ports that the operator knows.
        "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(gateway.port),
        # Twice as many: in an upgrade the new ones come before the old ones have ended their calls.
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(gateway.port + 2 * most),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
        "RAY_SERVE_PORT_QUARANTINE_S": "0",
        # Ray would run every replica at 15; here models step back behind the gateway (serve/deployments.py).
        "RAY_worker_niceness": "0",
        # Nothing that an engine forked may outlive its replica.
        "RAY_kill_child_processes_on_worker_exit_with_raylet_subreaper": "true",
    }
