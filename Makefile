# Every command of the project. The same names work in continuous integration.
.PHONY: setup build demo test chaos upgrade lint bench-dispatch bench-train bench-accuracy sqlx fmt

setup: ## Puts libtorch and PostgreSQL in place; instant when they are.
	@./deploy/setup.sh

build: setup ## Builds every program.
	cargo build --workspace --bins

demo: build ## From URL lists to a served classifier, on this machine; ONCE=1 stops the system at the end.
	@./target/debug/ursa-demo $(if $(ONCE),--once)

test: build ## Runs every test.
	cargo nextest run --workspace --no-fail-fast || { command -v cargo-nextest >/dev/null && exit 1 || cargo test --workspace --no-fail-fast; }

chaos: build ## Lets everything go wrong, and checks that nothing is lost; SEED=7 MINUTES=60 for another schedule, and a longer one.
	@./deploy/setup.sh chaos
	@./target/debug/ursa-chaos --seed $(or $(SEED),1) --minutes $(or $(MINUTES),0)

upgrade: build ## Rolls two real builds while work goes on: OLD=folder NEW=folder, each with an ursa-coordinator and an ursa-worker.
	./tests/upgrade.sh "$(OLD)" "$(NEW)"

lint: setup ## Formatting, clippy with warnings denied, licences.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	./deploy/licences.sh

bench-dispatch: setup ## How fast tasks go through the programs as they are shipped, beside graphile_worker; ARGS="--only full --hold 1h".
	cargo build --release -p ursa-coordinator -p ursa-worker -p ursa-bench --no-default-features --bins
	cd tests/bench/peer && CARGO_TARGET_DIR=../../../target/bench-peer cargo build --release
	./target/release/ursa-bench-dispatch $(ARGS)

# PyTorch has the half of libtorch that a GPU needs, too.
bench-train: build ## How fast networks learn, on a GPU where there is one, beside PyTorch on the same libtorch; ARGS="--quick", ARGS="--only resnet18,128", ARGS="--device cpu".
	@./deploy/setup.sh bench-train
	LD_LIBRARY_PATH="$$(echo "$$PWD"/.deps/pytorch/lib/python3*/site-packages/torch/lib):$$LD_LIBRARY_PATH" ./target/debug/ursa-bench-train $(ARGS)

bench-accuracy: build ## What training in bfloat16 costs beside float32, over several seeds; ARGS="--seeds 3".
	./target/debug/ursa-bench-accuracy $(ARGS)

sqlx: ## Checks every query against a fresh database and rewrites .sqlx/.
	@./deploy/sqlx.sh

fmt: ## Formats the code.
	cargo fmt --all
