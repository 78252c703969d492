# The front door. Meson and ninja do the work; every target installs what it is missing (Debian 12, root or sudo).
BUILD ?= build
PREFIX ?= /usr/local

.PHONY: all demo run test bench lint format fuzz install clean deps
all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

deps:
	@scripts/deps

$(BUILD)/build.ninja: meson.build meson_options.txt
	@scripts/deps build
	@test -f $@ || said=$$(meson setup --buildtype=release -Dprefix=$(PREFIX) $(BUILD)) || { echo "$$said"; exit 1; }

# The main job before your eyes: tenants, stock WireGuard clients, isolation, 100,000 more tenants. Under a minute once built.
demo: all
	@scripts/deps demo
	@scripts/demo --build $(BUILD)

# A gateway in the foreground, with its database and socket under ./var. Talk to it with build/src/cli/sallyport.
run: all
	@scripts/run $(BUILD)

# Every test there is; the last line is "N passed, M failed".
test:
	@scripts/deps
	@scripts/test

# Measures, prints a table, writes build/bench.json.
bench: all
	@scripts/deps
	@scripts/bench $(BUILD)

# What a reviewer would say first: the direction of the rooms, formatting, cppcheck, clang-tidy. The first run takes minutes;
# later ones look only at what has changed since it was clean.
lint: all
	@scripts/deps
	@scripts/lint $(BUILD)

format:
	@scripts/deps
	@scripts/format

# Searches for inputs that break a parser; TARGET= one of tests/fuzz, TIME= seconds.
fuzz:
	@scripts/deps
	@scripts/fuzz "$(TARGET)" "$(or $(TIME),60)"

install: all
	@meson install -C $(BUILD) --no-rebuild

clean:
	@rm -rf build build-clang build-asan build-tsan build-fuzz
