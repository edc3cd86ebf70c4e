package plugingraph

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/containerd/errdefs"
)

// configFor returns a copy of a plugin's default configuration of its own, which
// the registration shares between all users and plugins write to, with the
// fields of overrides set in it. Going through JSON by Go field names also
// reaches the configuration types that containerd does not export.
func configFor(defaults, overrides any) (any, error) {
	if defaults == nil {
		if overrides != nil {
			return nil, fmt.Errorf("plugin takes no configuration: %w", errdefs.ErrInvalidArgument)
		}
		return nil, nil
	}
	config := deepCopy(reflect.ValueOf(defaults)).Interface()
	if overrides == nil {
		return config, nil
	}
	data, err := json.Marshal(overrides)
	if err == nil {
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		err = dec.Decode(config)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration %T: %w: %w", defaults, err, errdefs.ErrInvalidArgument)
	}
	return config, nil
}

// deepCopy copies what v refers to, as far as fields are exported.
func deepCopy(v reflect.Value) reflect.Value {
	made := reflect.New(v.Type()).Elem()
	made.Set(v)
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			made.Set(reflect.New(v.Type().Elem()))
			made.Elem().Set(deepCopy(v.Elem()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if made.Field(i).CanSet() {
				made.Field(i).Set(deepCopy(v.Field(i)))
			}
		}
	case reflect.Slice:
		if !v.IsNil() {
			made.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				made.Index(i).Set(deepCopy(v.Index(i)))
			}
		}
	case reflect.Map:
		if !v.IsNil() {
			made.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
			for _, key := range v.MapKeys() {
				made.SetMapIndex(key, deepCopy(v.MapIndex(key)))
			}
		}
	}
	return made
}
