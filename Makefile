# SPDX-License-Identifier: Apache-2.0
# A thin front to Meson; everything it makes goes to build/.
#   make demo     see it work          make test     run every test
#   make setup    what is missing      make build    build/holdfast
#   make check    the house rules      make bench    ratios beside cp and restic
#   make soak     the long tests       make fmt      format the C
.PHONY: setup build test demo bench soak check fmt install clean

PREFIX ?= /usr/local
ONCE ?=
MONGOD ?=

setup:
	@tools/setup.sh

build: setup
	@tools/build.sh product

test: build
	@tools/setup.sh test
	@/usr/bin/python3 tools/test.py

soak: build
	@tools/setup.sh test
	@/usr/bin/python3 tools/test.py --soak

check: setup
	@tools/build.sh test
	@/usr/bin/python3 tools/test.py checks

demo: build
	@build/holdfast demo $(if $(ONCE),--once) $(if $(MONGOD),--mongod "$(MONGOD)")

bench: build
	@/usr/bin/python3 bench/run.py

fmt: setup
	@find src tests bench -name '*.[ch]' -print0 | xargs -0 clang-format -i

install: build
	@install -d "$(DESTDIR)$(PREFIX)/bin"
	@install -m 755 build/holdfast build/holdfast-sandbox "$(DESTDIR)$(PREFIX)/bin/"

clean:
	rm -rf build
