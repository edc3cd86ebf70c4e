package plugingraph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/plugin"
	"github.com/containerd/ttrpc"
	"google.golang.org/grpc"
)

// Options say what [Start] starts, and where.
type Options struct {
	// Plugins is the set to start, in any order.
	Plugins []plugin.Registration
	// Root and State are the directories under which each plugin has one of its
	// own, named by its URI: Root for what is kept, State for what is not.
	Root, State string
	// Address and TTRPCAddress are the socket paths that plugins, and the shims
	// they start, are told. Start does not listen on them.
	Address, TTRPCAddress string
	// Config sets fields of the plugins' default configurations, by plugin URI.
	// A value is anything that encodes to a JSON object with the Go names of the
	// fields, such as a map or the configuration's own type.
	Config map[string]any
	// Unary and Stream see every gRPC request first. Optional.
	Unary  grpc.UnaryServerInterceptor
	Stream grpc.StreamServerInterceptor
}

// Graph is a running set of plugins. Its methods are safe for concurrent use by
// multiple goroutines.
type Graph struct {
	set    *plugin.Set
	order  []*plugin.Plugin
	grpc   *grpc.Server
	ttrpc  *ttrpc.Server
	cancel context.CancelFunc

	closeOnce sync.Once
	closeErr  error
}

// Start initialises the plugins in the order of their dependencies. A plugin
// that asks to be skipped is left out; any other error stops what was started
// and is returned with the plugin's URI. Canceling ctx afterwards does not end
// the graph: [Graph.Close] does, and the caller must call it.
func Start(ctx context.Context, opts Options) (_ *Graph, err error) {
	ordered, err := order(slices.Clone(opts.Plugins))
	if err != nil {
		return nil, err
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	g := &Graph{set: plugin.NewPluginSet(), cancel: cancel}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Close())
		}
	}()
	for _, r := range ordered {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := g.start(life, r, opts); err != nil {
			return nil, fmt.Errorf("plugin %s: %w", r.URI(), err)
		}
	}
	return g, g.makeServers(opts)
}

func (g *Graph) start(ctx context.Context, r plugin.Registration, opts Options) error {
	uri := r.URI()
	ic := plugin.NewContext(ctx, g.set, map[string]string{
		plugins.PropertyRootDir:      filepath.Join(opts.Root, uri),
		plugins.PropertyStateDir:     filepath.Join(opts.State, uri),
		plugins.PropertyGRPCAddress:  opts.Address,
		plugins.PropertyTTRPCAddress: opts.TTRPCAddress,
	})
	ic.RegisterReadiness = func() func() { return func() {} }
	config, err := configFor(r.Config, opts.Config[uri])
	if err != nil {
		return err
	}
	ic.Config = config
	p := r.Init(ic)
	if err := g.set.Add(p); err != nil {
		return err
	}
	if err := p.Err(); plugin.IsSkipPlugin(err) {
		log.G(ctx).WithError(err).WithField("id", uri).Info("skip loading plugin")
		return nil
	} else if err != nil {
		return err
	}
	g.order = append(g.order, p)
	return nil
}

// Instance returns the running instance of the plugin with the given URI, or a
// not-found error if the graph has none or the plugin was skipped. The graph
// keeps owning it.
func (g *Graph) Instance(uri string) (any, error) {
	for _, p := range g.order {
		if p.Registration.URI() == uri {
			return p.Instance()
		}
	}
	return nil, fmt.Errorf("plugin %s is not running: %w", uri, errdefs.ErrNotFound)
}

// StopServing ends all gRPC calls in progress, waits for them, and serves no
// more. Shims can still publish events. It is idempotent.
func (g *Graph) StopServing() {
	if g.grpc != nil {
		g.grpc.Stop()
	}
}

// Close ends all calls in progress, stops serving, and closes the plugins, the
// last started first. It is idempotent and returns the joined errors of the
// plugins. What the plugins keep under Root and State stays there.
func (g *Graph) Close() error {
	g.closeOnce.Do(func() {
		var errs []error
		g.StopServing()
		if g.ttrpc != nil {
			errs = append(errs, g.ttrpc.Close())
		}
		g.cancel()
		for _, p := range slices.Backward(g.order) {
			errs = append(errs, closePlugin(p))
		}
		g.closeErr = errors.Join(errs...)
	})
	return g.closeErr
}

func closePlugin(p *plugin.Plugin) error {
	instance, err := p.Instance()
	if err != nil {
		return err
	}
	closer, ok := instance.(io.Closer)
	if !ok {
		return nil
	}
	if err := closer.Close(); err != nil {
		return fmt.Errorf("closing plugin %s: %w", p.Registration.URI(), err)
	}
	return nil
}
