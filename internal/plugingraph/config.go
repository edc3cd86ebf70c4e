package plugingraph

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/containerd/errdefs"
)

// configFor returns a fresh copy of a plugin's default configuration, which the
// registration shares between all users and plugins write to, with the fields
// of overrides set in it. Going through JSON by Go field names also reaches the
// configuration types that containerd does not export.
func configFor(defaults, overrides any) (any, error) {
	if defaults == nil {
		if overrides != nil {
			return nil, fmt.Errorf("plugin takes no configuration: %w", errdefs.ErrInvalidArgument)
		}
		return nil, nil
	}
	t := reflect.TypeOf(defaults)
	if t.Kind() != reflect.Pointer {
		return defaults, nil
	}
	config := reflect.New(t.Elem())
	config.Elem().Set(reflect.ValueOf(defaults).Elem())
	for _, layer := range []any{defaults, overrides} {
		if layer == nil {
			continue
		}
		if err := overlay(config.Interface(), layer); err != nil {
			return nil, fmt.Errorf("configuration %T: %w: %w", defaults, err, errdefs.ErrInvalidArgument)
		}
	}
	return config.Interface(), nil
}

func overlay(config, layer any) error {
	data, err := json.Marshal(layer)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(config)
}
