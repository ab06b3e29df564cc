"""Business systems for the demo agents to act on: small, real HTTP servers over SQLite, which can be made to fail.

python -m bench.backoffice dental --port 8090
"""
