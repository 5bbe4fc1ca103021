# Needs Python 3.11 or newer, git and make; everything else is installed into .venv.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
# Checks and tests read no .env and need no configuration.
CHECK_ENV := DJANGO_SETTINGS_MODULE=tests.settings
# Images of Python often forbid compiled code to be kept: then each process that a test or the demo
# starts compiles the whole product, which takes longer than its start.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo run test screenshots check proof bench format lock clean

setup: .venv/installed

.venv/installed: requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and was not found."; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "Installing packages into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

demo: setup
	@$(BIN)/python -m tests.demo

run: setup
	@$(BIN)/python -m config.serve

# One process more than cores: tests in the browser and of workers wait most of the time.
test: setup
	@$(BIN)/python -m tests.machine
	$(BIN)/python -m pytest --numprocesses $$($(BIN)/python -c "import os; print(os.cpu_count() + 1)") --dist worksteal

# Pictures of every page in its main states, into screenshots/, by the tests that open them; that
# of the README is one of them.
screenshots: setup
	@$(BIN)/python -m tests.machine
	SCREENSHOTS=screenshots $(BIN)/python -m pytest --numprocesses auto tests/browser/test_every_page.py
	cp "screenshots/integration, with what the token may do-1280-light.png" docs/linked-organization.png

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(CHECK_ENV) $(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/djlint templates tests --lint --quiet
	$(CHECK_ENV) $(BIN)/python manage.py makemigrations --check --dry-run
	$(CHECK_ENV) $(BIN)/python manage.py check --deploy --fail-level WARNING

# What `make test` repeats a few times, a hundred times as often; it takes hours.
proof: setup
	REPETITIONS=100 $(BIN)/python -m pytest --numprocesses auto $$(grep -rl "repeated(" tests --include="test_*.py")

bench: setup
	$(BIN)/python -m tests.bench

format: setup
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

COMPILE := .venv/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	--prerelease if-necessary-or-explicit

# Pins every package with its hashes; run it after a change of dependencies in pyproject.toml.
lock:
	$(PYTHON) -m venv .venv/lock && .venv/lock/bin/pip install --quiet uv
	for group in "" dev; do \
	  $(COMPILE) pyproject.toml $${group:+--group $$group} --output-file requirements$${group:+-$$group}.txt; done
	$(COMPILE) --group terraform --output-file requirements-terraform.txt

clean:
	rm -rf .venv .demo screenshots staticfiles .mypy_cache .ruff_cache .pytest_cache .hypothesis
