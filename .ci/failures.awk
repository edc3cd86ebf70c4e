# Prints what a log of "go test" says of failures. Where a test's time ran out,
# a dump of all goroutines hides it, so first those are shown that have waited
# for minutes in this project's code.

/^goroutine .* minutes\]:/ { waits = $0; sub(/^goroutine [0-9]+ /, "", waits); next }
/^$/ { end_of_goroutine() }
waits && /^github\.com\/ctrdkit\/containerd/ { sub(/\((0x|\{).*/, ""); frames = frames "\n\t" $0 }

/^(FAIL|panic:|fatal error:|WARNING: DATA RACE)|^ *--- FAIL|^\t\t[A-Z].* \([0-9hms.]+\)$/ { lines[++m] = $0 }

END {
	end_of_goroutine()
	for (i = n > 12 ? n - 11 : 1; i <= n; i++) print stacks[i]
	for (i = m > 40 ? m - 39 : 1; i <= m; i++) print lines[i]
}

function end_of_goroutine() {
	if (frames) stacks[++n] = waits frames
	waits = frames = ""
}
