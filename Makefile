# SPDX-License-Identifier: Apache-2.0
# A door to meson for people who type make. Everything is built in build/.

.PHONY: all deps demo check test bench bench-quick install format clean

all: build/build.ninja
	ninja -C build

build/build.ninja:
	meson setup build

# Debian packages named in tools/packages
deps:
	tools/deps.sh

# Every test: gcc, clang, sanitizers, fuzz corpora, style
check: deps
	python3 tools/check.py

# The tests of one build, for the impatient
test: all
	meson test -C build --print-errorlogs

# A Debian guest on a slow store boots as from local RAM
demo: deps
	$(MAKE) -s all
	python3 bench/demo.py

# Roost beside its peers: doc/PERFORMANCE.md; takes hours. The quick one takes
# ten minutes and prints.
bench: deps
	$(MAKE) -s all
	python3 bench/bench.py

bench-quick: deps
	$(MAKE) -s all
	python3 bench/bench.py --quick

format:
	git ls-files '*.c' '*.h' | xargs clang-format -i

install: all
	meson install -C build

clean:
	rm -rf build build-*
