"""Conversations in text: the real dialogue manager, router, flows and connectors, without audio.

python -m bench.eval [--agent dental] [--llm real]
"""
