# SPDX-License-Identifier: Apache-2.0
# Every way to build, test and show podwatch. `make` alone lists them. Everything that is needed is
# installed on the way: Debian's packages by packaging/need (as root), the development tools into a
# virtual environment outside the tree.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/podwatch
VENV := $(CACHE)/venv
PYTHON := $(VENV)/bin/python
SYSTEM_PYTHON := /usr/bin/python3

# The libraries podwatch runs on are those of the distribution, in development as in production.
LIBRARIES := python3-nftables python3-pystemd python3-structlog python3-dbus-next
TOOL_PACKAGES := $(LIBRARIES) python3-venv
BUILD_PACKAGES := git dpkg-dev debhelper dh-python pybuild-plugin-pyproject python3-all \
	python3-setuptools lintian man-db zsh fish rpm python3-build python3-wheel
LAB_PACKAGES := mmdebstrap systemd-container iproute2 nftables dnsmasq-base \
	debian-archive-keyring procps chromium dbus-daemon libglib2.0-bin

TOOLS := ruff==0.17.6 mypy==2.4.1 pytest==9.2.0 pytest-timeout==2.4.0 pytest-xdist==3.8.0 \
	hypothesis==6.170.15 coverage==7.17.5 ansible-core==2.19.14
TOOLS_STAMP := $(VENV)/tools-$(firstword $(shell echo '$(TOOLS)' | sha256sum))

ROOT := $(filter 0,$(shell id -u))

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: need-root setup ## boot a throw-away host, break its firewall, watch podwatch heal it (root)
	@packaging/make-deb
	@$(PYTHON) -m tests.lab.demo

.PHONY: test
test: ## everything there is; what cannot run here is named at the end (with CI=true: fails)
	@$(MAKE) --no-print-directory $(if $(ROOT),setup,tools)
	@$(PYTHON) -m tests.run lint types unit coverage package integration e2e

.PHONY: check
check: need-libraries tools ## what needs no root: linter, types, unit tests and their coverage
	@$(PYTHON) -m tests.run lint types unit coverage

.PHONY: integration
integration: need-root setup ## tests against real tools in network namespaces (root)
	@$(PYTHON) -m tests.run integration

.PHONY: e2e
e2e: need-root setup ## tests of the installed package on throw-away hosts (root)
	@$(PYTHON) -m tests.run package e2e

.PHONY: fuzz
fuzz: need-libraries tools ## every parser on spoilt input, other input each time; FUZZ=5000 examples
	@PODWATCH_FUZZ_EXAMPLES=$(or $(FUZZ),5000) $(PYTHON) -m pytest --timeout=0 \
		--hypothesis-profile=fuzz tests/unit/fuzz

.PHONY: mutants
mutants: need-libraries tools ## is each small fault put into the program noticed? SEED=13 SAMPLE=300
	@$(PYTHON) -m tests.mutants --seed $(or $(SEED),13) --sample $(or $(SAMPLE),300)

.PHONY: host
host: need-root setup ## a throw-away host to play with, until Ctrl-C (root); SUITE=forky
	@packaging/make-deb
	@$(PYTHON) -m tests.lab host $(SUITE)

.PHONY: page-picture
page-picture: need-root setup ## take README's picture of the page anew, on a throw-away host (root)
	@packaging/make-deb
	@PODWATCH_PICTURE=tests/browser/page.png $(PYTHON) -m pytest -q -n0 \
		tests/e2e/test_page_looks.py -k picture

.PHONY: page
page: ## the Cockpit page in any browser, with recorded documents, without Cockpit or root
	@$(SYSTEM_PYTHON) -m tests.page

.PHONY: soak
soak: need-root setup ## random faults, churn and kills on one host (root); SOAK="--minutes 30 --kills 200"
	@packaging/make-deb
	@$(PYTHON) -m tests.soak $(SOAK)

.PHONY: bench
bench: need-root setup ## podwatch beside the alternatives, measured (root, 40 min); BENCH="--guard": the guard alone
	@packaging/make-deb
	@$(PYTHON) -m tests.bench $(BENCH)

.PHONY: deb
deb: need-build ## build dist/podwatch_VERSION_all.deb, and cockpit-podwatch's beside it
	@packaging/make-deb

.PHONY: run
run: need-libraries ## podwatch in the foreground, watching this very host (root)
	@exec $(SYSTEM_PYTHON) -c 'import sys; from podwatch.commands.main import main; sys.exit(main())' run

.PHONY: setup
setup: need-all tools ## install everything that is missing for all of the above (root)

.PHONY: clean
clean: ## remove what building and testing left in this tree
	@rm -rf dist build .hypothesis .mypy_cache .pytest_cache .ruff_cache *.egg-info
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# What the targets above stand on.

.PHONY: tools need-all need-libraries need-build need-root
tools: $(TOOLS_STAMP)

need-all:
	@packaging/need $(TOOL_PACKAGES) $(BUILD_PACKAGES) $(LAB_PACKAGES)

need-libraries:
	@packaging/need $(TOOL_PACKAGES)

need-build:
	@packaging/need $(BUILD_PACKAGES)

need-root:
	@[ '$(ROOT)' ] || { echo 'this needs root: it boots hosts and makes network namespaces' >&2; exit 1; }

# Two makes may come here at once: the second waits and finds the work done.
$(TOOLS_STAMP):
	@packaging/need python3-venv
	@mkdir -p $(CACHE)
	@exec 9>$(CACHE)/venv.lock; flock 9; \
	[ ! -e $@ ] || exit 0; \
	echo 'installing $(TOOLS)' >&2; \
	[ -x $(PYTHON) ] || $(SYSTEM_PYTHON) -m venv --system-site-packages $(VENV); \
	$(PYTHON) -m pip install -qq --disable-pip-version-check $(TOOLS); \
	rm -f $(VENV)/tools-*; \
	touch $@
