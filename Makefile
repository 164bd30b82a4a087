# smscancel. The three that one needs: make test, make build, make image.

# Versions of what go.mod does not name. Kafka's stands in deploy/kafka-image/pom.xml.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
CYCLONEDX   := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.9.0

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
IMAGE   ?= smscancel:$(VERSION)

GOFLAGS_STATIC := -trimpath -tags timetzdata -ldflags '-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)'

# The certificates that the image brings along: the first bundle found here.
CA_BUNDLE ?= $(firstword $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem))

# The race detector needs a C compiler; without one the tests run without it.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race,)

# Collected during `make test`: every test that was skipped for want of Kafka or spin.
NOT_RUN := $(CURDIR)/bin/not-run.txt
export SMSCANCEL_NOT_RUN_FILE = $(NOT_RUN)

.PHONY: all help test test-unit test-deploy test-kafka faults faults-kafka model planted soak bench bench-large bench-admission packages build image sbom picture kafka-image kafka-image-if-missing vet lint vuln fmt clean
.NOTPARALLEL:

all: build

help:
	@echo 'make test         vet and all tests; those with real Kafka where a container engine answers'
	@echo 'make test-unit    only the tests that need no containers'
	@echo 'make test-deploy  only those of deploy/ (compose file, Helm chart, alert rules, dashboard), and of the status page in a browser'
	@echo 'make test-kafka   only the packages that test against real Kafka'
	@echo 'make faults       random schedules in virtual time, SCHEDULES=3000 of them; goes on where it was stopped'
	@echo 'make faults-kafka the faults on real Kafka at full length: hours, not for every change'
	@echo 'make planted      the faults against every planted defect, not against a few of them'
	@echo 'make model        the model of the protocol (integration/model), at full size'
	@echo 'make soak         an hour under faults, a window of 10,000,000, a backlog of 5,000,000: two hours (SOAK=3m ENTRIES=… BACKLOG=…)'
	@echo 'make bench        the worker beside a limit and a baseline, within an hour (RUN=Rate: a part; ROUNDS=1: in a few minutes)'
	@echo 'make bench-large  the same with 10,000,000 outcomes in the window, and with a backlog of 5,000,000'
	@echo 'make bench-admission  limits, priority, outage, isolation: worker processes against the simulator, seven minutes (RUN=Outage: a part)'
	@echo 'make fuzz         every fuzz target in turn, for FUZZTIME [$(FUZZTIME)] each'
	@echo 'make build        bin/smscancel, static'
	@echo 'make image        the container image $(IMAGE);  make sbom: bin/sbom.json, what is in it (CycloneDX)'
	@echo 'make kafka-image  a Kafka image for the tests, without an image registry'
	@echo 'make lint         gofmt, vet, staticcheck;  make vuln: known vulnerabilities'
	@echo 'make fmt          gofmt, in place'

# Its last lines say what did not run, or that everything did.
test: vet test-unit test-deploy test-kafka
	@if [ -s '$(NOT_RUN)' ]; then \
	  awk -F'\t' -v root='$(CURDIR)/' '{ dir = $$1; if (index(dir, root) == 1) dir = substr(dir, length(root) + 1); n[dir]++; why[dir] = $$3 } \
	    END { for (dir in n) printf "NOT RUN: %d tests of %s: %s\n", n[dir], dir, why[dir] }' '$(NOT_RUN)' | sort; \
	fi; \
	if [ -z '$(RACE)' ]; then echo 'NOT RUN: the race detector: no C compiler'; fi; \
	if [ -n '$(RACE)' ] && [ ! -s '$(NOT_RUN)' ]; then echo 'All suites ran.'; fi

test-unit: packages
	@set -e; packages=$$(cat bin/packages-unit.txt); \
	if [ -n "$$packages" ]; then set -x; go test $(RACE) -timeout 20m $$packages; fi

# Modules of their own: what compose, Helm, Prometheus and a browser need is not for the worker.
test-deploy: kafka-image-if-missing
	cd integration/deployment && go vet . && go test -count=1 -timeout 20m .
	cd integration/page && go vet . && go test -count=1 -timeout 20m .

# The picture in README.md, by the page's own test.
picture:
	cd integration/page && SMSCANCEL_REQUIRE_KAFKA=1 SMSCANCEL_PICTURE='$(CURDIR)/deploy/status-page.png' go test -count=1 .

# One package at a time: each runs brokers of its own.
test-kafka: packages kafka-image-if-missing
	@set -e; packages=$$(cat bin/packages-kafka.txt); \
	if [ -n "$$packages" ]; then set -x; go test $(RACE) -count=1 -p 1 -timeout 60m $$packages; fi

# Its progress is that of one commit: another one begins anew.
SCHEDULES ?= 3000
PROCS     ?= $(shell getconf _NPROCESSORS_ONLN)

faults:
	@mkdir -p bin
	go test -c -o bin/schedule.test ./integration/schedule
	bin/schedule.test -test.run '^TestCampaign$$' -test.timeout 0 -schedules $(SCHEDULES) -procs $(PROCS) \
	  -progress bin/faults.json -commit '$(VERSION)'

# The same tests as in every run, with more of everything.
faults-kafka: kafka-image-if-missing
	SMSCANCEL_LONG=1 SMSCANCEL_REQUIRE_KAFKA=1 go test $(RACE) -count=1 -timeout 6h -v ./integration

# Every order of events in the model: the configurations of every run, and larger ones.
model:
	SMSCANCEL_LONG=1 SMSCANCEL_REQUIRE_KAFKA=1 go test -count=1 -timeout 2h -v ./integration/model

# Every defect of integration/testdata/planted must be caught. Ends with a table.
planted: kafka-image-if-missing
	SMSCANCEL_LONG=1 SMSCANCEL_REQUIRE_KAFKA=1 go test -count=1 -timeout 2h -v ./integration -run '^TestTakeoversUnderLoadCatchEveryPlantedDefect$$'
	go test -count=1 -timeout 6h -v ./integration/planted -every

# Endurance. Ends with one table, a line for each of the three runs.
SOAK    ?= 1h
RATE    ?= 200
ENTRIES ?= 10000000
BACKLOG ?= 5000000
RESULTS := $(CURDIR)/bin/results.txt
soak: kafka-image-if-missing
	@mkdir -p bin && rm -f '$(RESULTS)'
	SMSCANCEL_SOAK=$(SOAK) SMSCANCEL_SOAK_RATE=$(RATE) SMSCANCEL_ENTRIES=$(ENTRIES) SMSCANCEL_BACKLOG=$(BACKLOG) SMSCANCEL_RESULTS='$(RESULTS)' SMSCANCEL_REQUIRE_KAFKA=1 \
	  go test -count=1 -timeout 24h -v ./integration -run 'TestASoakUnderRandomFaults|TestAFullDedupeWindow|TestABacklogIsDrained'; status=$$?; \
	echo; echo '| run | commit, date | result |'; echo '|---|---|---|'; \
	[ ! -f '$(RESULTS)' ] || awk -F'\t' -v commit='$(COMMIT)' -v date="$$(date +%F)" '{ printf "| %s | %.7s, %s | %s |\n", $$1, commit, date, $$2 }' '$(RESULTS)'; \
	exit $$status

RUN ?= .

# The worker, what it could do at most, and what one would write instead. Ends with
# a table; a goal that is missed is said there and fails nothing.
ROUNDS ?= 5
bench: BENCH = BenchmarkWorker
bench-large: BENCH = BenchmarkLarge
bench bench-large: kafka-image-if-missing
	@mkdir -p bin && rm -f '$(RESULTS)'
	SMSCANCEL_ROUNDS=$(ROUNDS) SMSCANCEL_RESULTS='$(RESULTS)' SMSCANCEL_REQUIRE_KAFKA=1 \
	  go test -count=1 -timeout 4h -run '^$$' -bench '^$(BENCH)$$/$(RUN)' -benchtime 1x ./integration; status=$$?; \
	echo; echo '| workload | goal | measured | | L | B | W | besides |'; echo '|---|---|---|---|---|---|---|---|'; \
	[ ! -f '$(RESULTS)' ] || awk -F'\t' '{ printf "| %s | %s | %s | %s | %s | %s | %s | %s |\n", $$1, $$2, $$3, $$4, $$5, $$6, $$7, $$8 }' '$(RESULTS)'; \
	echo; echo "commit $(COMMIT), $$(date +%F); medians of $(ROUNDS) rounds: rate, CPU for 1,000 requests, peak RSS, p50/p99/p99.9"; \
	exit $$status

# Every number that admission promises, measured on worker processes. Ends with a table.
bench-admission: kafka-image-if-missing
	@mkdir -p bin && rm -f '$(RESULTS)'
	SMSCANCEL_RESULTS='$(RESULTS)' go test -count=1 -timeout 1h -run '^$$' -bench '^BenchmarkAdmission$$/$(RUN)' -benchtime 1x ./integration; status=$$?; \
	echo; echo '| promise | goal | measured | | |'; echo '|---|---|---|---|---|'; \
	[ ! -f '$(RESULTS)' ] || awk -F'\t' '{ printf "| %s | %s | %s | %s | %s |\n", $$1, $$2, $$3, $$4, $$5 }' '$(RESULTS)'; \
	echo; echo "commit $(COMMIT), $$(date +%F)"; \
	exit $$status

# Their seeds run in every go test. What this finds is written to testdata/fuzz:
# mend the cause and commit the find. At the end of its time the fuzzer may take
# the end itself for a failure (go.dev/issue/75804, mended in Go 1.27): no find.
FUZZTIME ?= 30s

fuzz:
	@mkdir -p bin
	@set -e; for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for target in $$(go test -list '^Fuzz' $$dir | grep '^Fuzz'); do \
	    echo "== $$dir $$target"; \
	    if go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s $$dir >bin/fuzz.log 2>&1; then \
	      grep 'execs:' bin/fuzz.log | tail -1; \
	    elif grep -q 'context deadline exceeded' bin/fuzz.log && ! grep -q 'Failing input\|panic' bin/fuzz.log; then \
	      grep 'execs:' bin/fuzz.log | tail -1; \
	    else cat bin/fuzz.log; exit 1; fi; \
	  done; \
	done

# Packages whose tests depend on kafkatest, directly or not, and all others. What
# a run could not do is noted from here on.
packages:
	@mkdir -p bin && rm -f '$(NOT_RUN)'
	@go list ./... >bin/packages-all.txt
	@go list -test -f '{{if .ForTest}}{{.ForTest}} {{join .Deps " "}}{{end}}' ./... >bin/packages-deps.txt
	@grep -E '(^| )smscancel/integration/kafkatest( |$$)' bin/packages-deps.txt | cut -d' ' -f1 | sort -u >bin/packages-kafka.txt
	@grep -vxF -f bin/packages-kafka.txt bin/packages-all.txt >bin/packages-unit.txt || true

build:
	CGO_ENABLED=0 go build $(GOFLAGS_STATIC) -o bin/smscancel ./cmd/smscancel

image:
	@[ -n '$(CA_BUNDLE)' ] || { echo 'no CA certificates found: install ca-certificates or set CA_BUNDLE=FILE' >&2; exit 1; }
	rm -rf bin/image && mkdir -p bin/image
	CGO_ENABLED=0 GOOS=linux go build $(GOFLAGS_STATIC) -o bin/image/smscancel ./cmd/smscancel
	cp '$(CA_BUNDLE)' bin/image/ca-certificates.crt
	docker build -q -f deploy/Dockerfile --build-arg VERSION='$(VERSION)' --build-arg COMMIT='$(COMMIT)' -t '$(IMAGE)' bin/image

sbom:
	@mkdir -p bin
	CGO_ENABLED=0 GOOS=linux go run $(CYCLONEDX) app -json -licenses -packages=false -main cmd/smscancel -output bin/sbom.json .

kafka-image:
	deploy/kafka-image/build.sh

# Where the recipe's tools are missing the tests pull the official image, or say what to do.
kafka-image-if-missing:
	@set -e; version=$$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' deploy/kafka-image/pom.xml); \
	if [ -n "$$SMSCANCEL_KAFKA_IMAGE" ] || ! docker version >/dev/null 2>&1; then exit 0; fi; \
	for image in apache/kafka smscancel/kafka; do \
	  if docker image inspect "$$image:$$version" >/dev/null 2>&1; then exit 0; fi; \
	done; \
	if command -v mvn >/dev/null && command -v jlink >/dev/null; then \
	  deploy/kafka-image/build.sh || echo 'No local Kafka image; the tests will try to pull one.'; \
	fi

vet:
	go vet ./...

# Tests are skipped in one place only, notrun.Missing, which takes note of it.
lint: vet
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; }
	@! grep -rnE '\.Skip(f|Now)?\(' --include='*.go' . | grep -v '^./integration/notrun/notrun.go:'
	go run $(STATICCHECK) ./...
	cd integration/deployment && go run $(STATICCHECK) ./...
	cd integration/page && go run $(STATICCHECK) ./...

vuln:
	go run $(GOVULNCHECK) ./...

fmt:
	gofmt -w .

clean:
	rm -rf bin
