#!/bin/sh
# Gets what the browser tests need: Chromium, and a font that has Hangul.
set -eu

have_browser() {
    command -v chromium || command -v chromium-browser || command -v google-chrome
}

have_hangul() {
    command -v fc-list && test -n "$(fc-list :lang=ko)"
}

packages=""
have_browser >/dev/null || packages="chromium"
have_hangul >/dev/null || packages="$packages fonts-noto-cjk fontconfig"

if [ -z "$packages" ]; then
    echo "Chromium and a Korean font are here."
elif command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of packages is meant
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages >/dev/null
    echo "Installed: $packages"
elif command -v apt-get >/dev/null; then
    echo "Please run: sudo apt-get install $packages" >&2
    exit 1
else
    echo "Please install Chromium or Chrome and a font with Hangul (Noto Sans CJK);" \
        "a browser elsewhere is named by TFMAGIC_CHROMIUM=/path/to/it." >&2
    exit 1
fi
