package filter_test

import (
	"strings"
	"testing"

	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ctrdkit/containerd/internal/filter"
)

func TestParseTask(t *testing.T) {
	running := filter.Task{ContainerID: "web-1", ID: "web-1", PID: 4242, Status: tasktypes.Status_RUNNING}
	stopped := filter.Task{ContainerID: "job", ID: "job", PID: 7, Status: tasktypes.Status_STOPPED, ExitStatus: 137}
	tests := []struct {
		filter           string
		running, stopped bool
	}{
		{"", true, true},
		{"id", true, true},
		{"id==web-1", true, false},
		{`id=="web-1"`, true, false},
		{"id!=web-1", false, true},
		{"container.id==job", false, true},
		{`container."id"==job`, false, true},
		{"id~=^web", true, false},
		{`id~="^(web|job)"`, true, true},
		{`id~=/^w/`, true, false},
		{`id~=|^w|`, true, false},
		{`id~=/^web\\-\\d$/`, true, false},
		{"pid==4242", true, false},
		{"pid~=^4", true, false},
		{"status==RUNNING", true, false},
		{"status==STOPPED", false, true},
		{"status==running", false, false},
		{"status==STOPPED,exit_status!=0", false, true},
		{"status==STOPPED,exit_status==0", false, false},
		{"exit_status==137", false, true},
		{"exit_status==0", true, false},
		{"id,pid,status,exit_status,container.id", true, true},
		{"id == web-1", true, false},
		{`id~=a~=b`, false, false},
		{`id==a~=(`, false, false},
		{`id=="a,id~=("`, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.filter, func(t *testing.T) {
			f, err := filter.ParseTask(tt.filter)
			require.NoError(t, err)
			assert.Equal(t, tt.running, f.Match(running), "running task")
			assert.Equal(t, tt.stopped, f.Match(stopped), "stopped task")
		})
	}
}

func TestParseTaskRefusesInvalidFilters(t *testing.T) {
	fields := "want one of id, container.id, pid, status, exit_status"
	tests := []struct{ filter, want string }{
		{"=", `"=": expected field or quoted`},
		{" ", "expected field or quoted"},
		{"id=web", `"id=web": unsupported operator "="`},
		{"id==", "expected value or quoted"},
		{"id==web,", "expected field or quoted"},
		{"id==web pid==3", "unexpected input"},
		{`id=="web`, "quoted literal not terminated"},
		{"id==\xff", "rune error"},
		{"\x00", `"\x00": `},
		{"image==nginx", `unknown field "image", ` + fields},
		{"id==nothing,image==nginx", `unknown field "image"`},
		{"image==nginx,name==x", `unknown field "image"`},
		{"image", `unknown field "image"`},
		{"labels.x==y", `unknown field "labels.x"`},
		{"container==x", `unknown field "container"`},
		{"ID==x", `unknown field "ID"`},
		{`""==x`, `unknown field ""`},
		{"id~=(", `invalid regular expression "("`},
		{`id~="["`, "invalid regular expression"},
		{`id~=/a\/(/`, "invalid regular expression"},
		{`id~=|"(|`, "invalid regular expression"},
		{"id==x,status~=*", "invalid regular expression"},
		{`status~="(a,b)",id~=(`, "invalid regular expression"},
		{strings.Repeat("x", 1<<20), "(1048576 bytes): unknown field"},
	}
	for _, tt := range tests {
		name := tt.filter[:min(len(tt.filter), 40)]
		t.Run(name, func(t *testing.T) {
			f, err := filter.ParseTask(tt.filter)
			require.ErrorIs(t, err, errdefs.ErrInvalidArgument)
			assert.Nil(t, f)
			assert.ErrorContains(t, err, tt.want)
			assert.LessOrEqual(t, len(err.Error()), 1024, "the error repeats too much of the filter")
		})
	}
}
