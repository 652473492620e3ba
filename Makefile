# What people do here. Each target makes the environment that it needs in .venv.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: demo test test-long check docs lock

demo:        ## a run on a made-up table
	bash scripts/demo

test:        ## the default tests
	bash scripts/test

test-long:   ## all tests, the slow and the statistical ones too; says which were skipped and what they need
	bash scripts/test -m "" -rs

check:       ## what CI runs: tests, types, style, documents
	bash .ci/run

docs:        ## the documentation as pages in site/
	LOCK=requirements-test.lock; source scripts/environment; mkdocs build --strict

lock:        ## both locks anew; needs uv
	bash scripts/lock
