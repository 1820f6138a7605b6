# shellcheck shell=bash
# Shared by the scripts beside this file; sourced, not run.

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }

is_root() { [ "$(id -u)" -eq 0 ]; }

# Prints those of the given Debian packages that are not installed.
missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null |
            grep -qx installed || echo "$package"
    done
}

# Installs the given Debian packages, those that are missing only. Returns 1 when that is not
# possible here, after one line that says why.
ensure_packages() {
    local missing
    if ! command -v apt-get >/dev/null; then
        say "this is not a Debian system (no apt-get); install by hand what stands for: $*"
        return 1
    fi
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    if ! is_root; then
        say "not root, so it could not run: sudo apt-get install ${missing//$'\n'/ }"
        return 1
    fi
    say "installing ${missing//$'\n'/ }"
    local log
    log=$(mktemp)
    # shellcheck disable=SC2086 # one word per package is what we want
    if ! { DEBIAN_FRONTEND=noninteractive apt-get update &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } \
        >"$log" 2>&1 </dev/null; then
        tail -n 5 "$log" >&2
        rm -f "$log"
        say "apt-get failed, see above"
        return 1
    fi
    rm -f "$log"
}
