#!/usr/bin/env bash
# Fails if generated code differs from what is in the work tree.
set -euo pipefail
cd "$(dirname "$0")/.."
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
cp -r containerdmock internal/grpcmock "$before/"
go generate ./...
for dir in containerdmock internal/grpcmock; do
	diff -r "$before/${dir##*/}" "$dir" || { echo 'generated code was stale: commit the new one' >&2; exit 1; }
done
