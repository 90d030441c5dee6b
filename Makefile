# `make help` lists the targets. Everything runs in .venv, which is made when it is missing.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= python3

.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[hub,nlp,rl,vision,dev]'
	@touch $@

.PHONY: setup
setup: $(STAMP) ## make the virtual environment and install everything

.PHONY: demo
demo: $(STAMP) ## set up, then a first sweep: LDR-KL at three temperatures, three seeds, on digits
	$(BIN)/runner task=digits objective=ldr -m tau=0.1,0.5,1.0 seed=0,1,2
	@echo
	@echo 'Next:  source $(BIN)/activate'
	@echo '       runner ui                                           the results in a browser'
	@echo '       runner task=digits objective=ldr,cross_entropy -m seed=0,1,2'
	@echo '       runner list objectives --task digits                what else fits'
	@echo '       runner show objective=aldr                          formula, hyperparameters'

.PHONY: test
test: $(STAMP) ## the quick tests, under 5 minutes on 2 cores
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

.PHONY: test-full
test-full: $(STAMP) ## the slow tests: clean installs, browser, real servers, kills
	$(BIN)/pytest --full -m full

.PHONY: lint
lint: $(STAMP) ## ruff and mypy
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

.PHONY: format
format: $(STAMP) ## format and sort imports
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: bench
bench: $(STAMP) ## measure speed, as ratios, into bench/README.md
	$(BIN)/pip install --quiet --editable '.[bench]'
	$(BIN)/pip install --quiet --no-deps libauc  # which asks for torchvision and a dozen more
	$(BIN)/python -m bench
