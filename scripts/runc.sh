#!/usr/bin/env bash
# Prints the path of an OCI runtime: runc on PATH, else the pinned one, which it
# builds into .tools, with seccomp where libseccomp can be had. Installs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/.tools
out=$tools/bin/runc

if command -v runc; then exit; fi
if [ -x "$out" ]; then echo "$out"; exit; fi

has_seccomp() {
	printf '#include <seccomp.h>\nint main(void) { return seccomp_api_get() == 0; }\n' |
		# shellcheck disable=SC2086
		${CC:-gcc} ${CGO_CFLAGS:-} -x c - -o "$tools/seccomp-probe" ${CGO_LDFLAGS:-} -static -lseccomp 2>"$tools/seccomp-probe.log"
}

# Unpacks Debian's libseccomp-dev into .tools, with package lists of its own.
unpack_seccomp() {
	command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
	local dir=$tools/seccomp
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	local apt=(apt-get -qq -o "Dir::State::Lists=$dir/lists" -o "Dir::Cache=$dir/cache" -o APT::Sandbox::User=)
	(cd "$dir" && "${apt[@]}" update && "${apt[@]}" download libseccomp-dev) >"$dir/log" 2>&1 || return 1
	dpkg -x "$dir"/libseccomp-dev_*.deb "$dir/root" || return 1
	rm -rf "$dir/lists" "$dir/cache"
	local lib=$dir/root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || ${CC:-gcc} -print-multiarch)
	export CGO_CFLAGS="-I$dir/root/usr/include" CGO_LDFLAGS="-L$lib"
	export PKG_CONFIG_PATH=$lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$dir/root
}

mkdir -p "$tools/bin"
tags=netgo,osusergo
if has_seccomp || { unpack_seccomp && has_seccomp; }; then
	tags=$tags,seccomp
else
	echo "runc: no libseccomp, building without seccomp (see $tools/seccomp-probe.log)" >&2
fi
echo "runc: building $out" >&2
CGO_ENABLED=1 go -C tools/runc build -trimpath -tags "$tags" -ldflags '-s -w -extldflags -static' \
	-o "$out" github.com/opencontainers/runc >&2
rm -f "$tools/seccomp-probe" "$tools/seccomp-probe.log"
echo "$out"
