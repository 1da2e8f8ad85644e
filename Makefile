# make demo   set up an environment and label a real photograph by words
# make test   set up an environment and run every test
# make lint   style and types
# make docs   the documentation as a site, in site/
# make chaos  faults on purpose: kills, full disks, damaged files (docs/reliability.md)
# make loop   from two photographs and a line of words to a small model that answers over HTTP (docs/loop.sh)
# make clicks every page visited in a real browser: server, browser, report, review (needs npm, chromium, chromium-driver)
# make page   a page that labels photographs in the browser alone, for the site (needs npm)
# make sbom   a software bill of materials, sbom.cdx.json
# make audit  known weaknesses of the tested versions, where they can be asked for
# A ready environment is reused: make test VENV=/path/to/venv
VENV   ?= .venv
PYTHON ?= python3
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.denseclip
FLAGS  ?=
# Pictures that the page's model is compared on.
PICTURES ?= docs/assets
# Test processes; each runs its models on one thread.
JOBS   ?= 2
# A process that dies is not replaced: xdist would give the next one the test that killed it, again and again.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --dist loadfile --max-worker-restart 0

.PHONY: demo test test-fast lint docs page clicks loop sbom audit chaos clean

demo: $(STAMP)-demo
	$(PY) tools/demo.py

test: $(STAMP)-test
	$(PYTEST) $(FLAGS)

test-fast: $(STAMP)-test
	$(PYTEST) -m "not slow" $(FLAGS)

lint: $(STAMP)-test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

chaos: $(STAMP)-test
	nice $(PY) tests/chaos/run.py $(FLAGS)

docs: $(STAMP)-docs
	$(PY) -m sphinx -q -W --keep-going -b html docs site

loop: $(STAMP)-test
	PATH="$(abspath $(VENV))/bin:$$PATH" ITERATIONS=4 PORT=8765 bash docs/loop.sh \
	  "$$($(PY) -c "import sklearn.datasets as d, pathlib; print(pathlib.Path(d.__file__).parent / 'images')")" \
	  "temple; sky; trees; flower" loop_out

page: $(STAMP)-test
	$(PY) -m denseclip export --precision fp16 --calibrate $(PICTURES) --out build/page-export --force
	$(PY) -m denseclip page build/page-export --out docs/browser/page --force

# The photographs come with scikit-learn, the parts are drawn.
clicks: SHOTS = $(shell $(PY) -c "import sklearn.datasets as d, pathlib; print(pathlib.Path(d.__file__).parent / 'images')")
clicks: page
	rm -rf build/clicks
	$(PY) -m denseclip miniworld build/clicks/parts --layout mvtec --count 4 --val-count 12 --seed 5
	$(PY) -m denseclip anomaly build/clicks/parts/washer/test --normal build/clicks/parts/washer/train/good --out build/clicks/inspection
	$(PY) -m denseclip label $(SHOTS) --words "temple; sky; trees; flower" --out build/clicks/labelled
	$(PY) -m denseclip review build/clicks/labelled
	$(PY) -m studies.clicks page docs/browser/page $(SHOTS)/china.jpg $(SHOTS)/flower.jpg
	$(PY) -m studies.clicks serve $(SHOTS)/china.jpg --runtime docs/browser/page/model
	$(PY) -m studies.clicks report build/clicks/inspection
	$(PY) -m studies.clicks review build/clicks/labelled

# Both are about what the tests run on, and the tools come on top of it.
sbom: $(STAMP)-test,supply
	$(PY) -m studies.supply sbom sbom.cdx.json

audit: $(STAMP)-test,supply
	$(PY) -m studies.supply audit

# One environment serves all commands; `demo` needs fewer packages than `test`. An environment that already holds the
# packages is only linked to this checkout.
$(STAMP)-%: setup.py requirements/tested.txt
	@test -x $(PY) || { echo "making the environment $(VENV) (about 6 GB: torch brings CUDA)"; $(PYTHON) -m venv $(VENV); }
	$(PY) -m pip install --disable-pip-version-check -q -U pip
	$(PY) -m pip install --disable-pip-version-check -q --progress-bar off -c requirements/tested.txt -e '.[mm,$*]'
	@touch $@

clean:
	rm -rf sbom.cdx.json demo_out loop_out site docs/api docs/browser build *.egg-info .pytest_cache .ruff_cache .mypy_cache
