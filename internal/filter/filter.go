// Package filter writes the filter strings that containerd's services apply,
// and applies filters to tasks, which the daemon does not do itself.
//
// The strings of a list are alternatives: containerd returns what matches any.
package filter

import "strconv"

// LabelEquals returns the filter for objects whose label key has exactly this
// value. containerd does not store empty values, so an empty one matches nothing.
func LabelEquals(key, value string) string {
	return LabelPresent(key) + "==" + literal(value)
}

// LabelPresent returns the filter for objects that have the label key.
func LabelPresent(key string) string {
	return "labels." + literal(key)
}

// NameIn returns the filters for objects that have one of the names. Without
// names they match nothing, whereas containerd takes an empty list of filters
// to match everything.
func NameIn(names ...string) []string {
	if len(names) == 0 {
		names = []string{""} // no object has an empty name
	}
	filters := make([]string, len(names))
	for i, name := range names {
		filters[i] = "name==" + literal(name)
	}
	return filters
}

// literal writes s so that containerd's parser reads exactly s back. It escapes
// everything outside ASCII, because the parser takes a literal U+FFFD for an
// encoding error.
func literal(s string) string {
	return strconv.QuoteToASCII(s)
}
