PYTHON ?= python3
VENV := .venv
# Material that no author of an agent has seen, by agent: dental.tsv, dental_conv/, ...; `make eval` plays it too.
BLIND ?= ../shared/blind
# Public data, which is kept outside this repository: clinc150/, nlupp/; `make bench-understanding` says where it is from.
DATA ?= ../shared/data
# What computes: `gpu` on a machine with a GPU, else `cpu`; each has a lock of its own.
EXTRA ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
LOCK := requirements$(if $(filter gpu,$(EXTRA)),-gpu).lock
# A stack file for `make call` and `make serve`; without one: by what this machine has (docs/gpu.md).
STACK ?=
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete-$(shell cksum $(LOCK) pyproject.toml | cksum | cut -d' ' -f1)

.PHONY: call serve test test-fast lint format env lock weights bench-stt bench-call bench-tts bench-languages bench-understanding bench-overhead bench-peers eval chaos clean

call: env  ## make the environment, fetch the weights, start the stack, place the demo call
	@$(BIN)/trunkline call $(if $(STACK),--stack $(STACK))

serve: env  ## leave the stack up and print how to point a Twilio number at it
	@$(BIN)/trunkline serve $(if $(STACK),--stack $(STACK))

test: env  ## every test, model-backed ones included
	@$(BIN)/python -m pytest

test-fast: env  ## without the tests that load models or start servers
	@$(BIN)/python -m pytest -m "not slow"

lint: env
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: env
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

weights: env
	@$(BIN)/trunkline models prepare

bench-stt: env
	@$(BIN)/python -m bench.stt

bench-call: env
	@$(BIN)/python -m bench.call

bench-tts: env
	@$(BIN)/python -m bench.tts

bench-languages: env  ## whether a turn's language is told right, and what it costs
	@$(BIN)/python -m bench.languages

bench-understanding: env  ## how right callers' words are understood on public data, and in what time
	@$(BIN)/python -m bench.understanding --data $(DATA)

bench-overhead: env
	@$(BIN)/python -m bench.overhead

bench-peers: env  ## the same caller phones this stack and Pipecat; docs/peers.md
	@$(BIN)/python -m bench.peers

eval: env  ## how often callers get what they called for, per agent and edge, with the embedded models
	@$(BIN)/python -m bench.eval --llm real --understand --also $(BLIND)

chaos: env  ## kill processes in the middle of 200 bookings
	@$(BIN)/python -m tests.chaos

env: $(STAMP)

lock: env  ## both locks anew, after a change of pyproject.toml
	@.ci/lock

# A CPU's torch through pip, which sees local builds (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL); the rest through uv, in parallel.
$(STAMP): $(LOCK) pyproject.toml
	@echo "Making the environment in $(VENV) ($(EXTRA); about a minute, once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --no-deps "$$(grep '^uv==' $(LOCK))" $(if $(filter cpu,$(EXTRA)),"$$(grep '^torch==' $(LOCK))")
	@grep -vE '^(#$(if $(filter cpu,$(EXTRA)),|torch==))' $(LOCK) > $(VENV)/rest.txt
	@$(BIN)/uv pip install -q --compile-bytecode --no-deps --python $(BIN)/python -r $(VENV)/rest.txt || $(BIN)/python -m pip install -q --no-deps -r $(VENV)/rest.txt
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.complete-* && touch $@

clean:
	rm -rf $(VENV)
