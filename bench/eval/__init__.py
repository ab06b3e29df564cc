"""Conversations in text: the real responder, router, flows and connectors, without audio.

python -m bench.eval [--agent dental] [--llm real]
"""
