# Everything that is built or fetched goes to .tools; nothing is installed.
TOOLS := $(CURDIR)/.tools/bin
export PATH := $(TOOLS):$(PATH)

.PHONY: help demo test check race integration soak bench fuzz generate tools runc clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "%-12s %s\n", $$1, $$2 }'

demo: runc ## run the quickstart on a private containerd; ARGS="IMAGE [COMMAND...]" for an image of your own
	@CGO_ENABLED=0 go build -trimpath -o $(TOOLS)/quickstart ./examples/quickstart
	@$(TOOLS)/quickstart $(ARGS)

test: export CONFORMANCE_REPORT := $(CURDIR)/.tools/conformance.txt
test: runc ## vet, unit and integration tests with the race detector
	@rm -f $(CONFORMANCE_REPORT)
	go vet ./...
	go test -race -timeout 25m -p 2 ./...
	@cat $(CONFORMANCE_REPORT)

check: generated lint ## formatting, vet, linters, generated files, go.mod
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo 'not formatted: run gofmt -w .'; exit 1; }
	go vet ./...
	GOOS=darwin go vet .
	go mod tidy -diff

race: runc ## unit tests with the race detector
	go test -race . ./internal/... ./containerdtest/...

integration: runc ## integration tests only
	go test -race -timeout 20m ./integration/... ./embedded/...

soak: runc ## 10,000 execs of mixed kinds, 32 at a time, on a real daemon
	SOAK=1 go test -timeout 60m -run '^TestSoak$$' -v ./integration

bench: runc ## benchmarks
	go test -run '^$$' -bench . -benchmem ./...

fuzz: ## every fuzz test for 20 seconds
	@for dir in ./internal/imageref ./internal/filter; do \
		for name in $$(go test -list '^Fuzz' $$dir | grep ^Fuzz); do \
			go test -run '^$$' -fuzz "^$$name$$" -fuzztime 20s $$dir || exit 1; \
		done; \
	done

generate: ## write generated code anew
	go generate ./...

.PHONY: lint generated
lint: $(TOOLS)/golangci-lint
	$(TOOLS)/golangci-lint run ./...

generated: $(TOOLS)/mockery
	scripts/generated.sh

tools: runc $(TOOLS)/golangci-lint $(TOOLS)/mockery ## build the development tools

$(TOOLS)/golangci-lint: tools/go.mod
	go -C tools build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(TOOLS)/mockery: tools/go.mod
	go -C tools build -o $@ github.com/vektra/mockery/v3

runc: ## find or build the OCI runtime
	@scripts/runc.sh >/dev/null

clean: ## remove what was built and fetched
	rm -rf .tools
