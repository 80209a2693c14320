#!/usr/bin/env bash
# Puts what the build and `ursa up` need in place: libtorch (from PyPI, through pip) and PostgreSQL's programs (from Debian).
# Idempotent; when everything is there it touches no network and ends at once. `setup.sh chaos` also puts in place what only
# the chaos suite needs, `setup.sh bench-train` what only that benchmark needs.
set -euo pipefail
cd "$(dirname "$0")/.."

torch_version=2.11.0
torchvision_version=0.26.0
cudart_version=13.0.96
cupti_version=13.0.85
cache="${URSA_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/ursa}"
libtorch="$cache/libtorch-$torch_version-cpu"
pytorch="$cache/pytorch-$torch_version"

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# Installs Debian packages where that is allowed; otherwise says what is missing and how to get it.
need_packages() {
  local purpose=$1; shift
  local command="apt-get install -y --no-install-recommends $*"
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing $* ($purpose)"
    DEBIAN_FRONTEND=noninteractive $command >/dev/null 2>&1 ||
      { apt-get update >/dev/null && DEBIAN_FRONTEND=noninteractive $command >/dev/null; } ||
      die "could not install $*. Try: $command"
  else
    die "$purpose is missing. Install it with: sudo $command"
  fi
}

have_postgres() {
  command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

have_faketime() {
  compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null
}

# Downloads one wheel into $1, trying the platform tags pip matches literally.
download_wheel() {
  local folder=$1 requirement=$2 tag
  for tag in manylinux_2_28 manylinux_2_27 manylinux_2_25 manylinux_2_17 manylinux2014; do
    python3 -m pip download --quiet --no-deps --dest "$folder" --python-version 3.11 --implementation cp \
      --platform "${tag}_x86_64" --only-binary=:all: "$requirement" 2>"$folder/pip.log" && return
  done
  cat "$folder/pip.log" >&2
  die "pip could not download $requirement; check the network and the package index, then run 'make setup' again"
}

# The CPU half of PyTorch's wheel stands alone once it finds two small CUDA libraries beside it.
install_libtorch() {
  local work; work=$(mktemp -d "$cache/download.XXXXXX")
  # shellcheck disable=SC2064 — expand now: `work` is local.
  trap "rm -rf '$work'" EXIT
  say "downloading libtorch $torch_version (about 530 MB, once per user)"
  download_wheel "$work" "torch==$torch_version"
  download_wheel "$work" "nvidia-cuda-runtime==$cudart_version"
  download_wheel "$work" "nvidia-cuda-cupti==$cupti_version"
  say "unpacking libtorch into $libtorch"
  python3 - "$work" <<'PY'
import glob, sys, zipfile
work = sys.argv[1]
wanted = ("torch/lib/libc10.so", "torch/lib/libtorch_cpu.so", "torch/lib/libgomp.so.1", "torch/include/",
          "nvidia/cu13/lib/libcudart.so", "nvidia/cu13/lib/libcupti.so")
for wheel in glob.glob(f"{work}/*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(f"{work}/out", [n for n in archive.namelist() if n.startswith(wanted)])
PY
  # The wheel's libtorch.so wants the CUDA half and defines nothing of use.
  echo 'INPUT(-ltorch_cpu)' >"$work/out/torch/lib/libtorch.so"
  ln -s libgomp.so.1 "$work/out/torch/lib/libgomp.so"
  echo "$torch_version" >"$work/out/torch/build-version"
  mv -T "$work/out" "$libtorch" 2>/dev/null || [ -e "$libtorch/torch/build-version" ] # another run may have won
}

# PyTorch as its users have it, in a Python of its own: the libtorch in it is the one we link.
install_pytorch() {
  python3 -c 'import ensurepip, venv' 2>/dev/null || need_packages "Python's venv" python3-venv
  say "downloading PyTorch $torch_version, which the benchmark compares with (about 2.5 GB, 5 on the disk, once per user)"
  rm -rf "$pytorch"
  python3 -m venv "$pytorch"
  "$pytorch/bin/python3" -m pip install --quiet "torch==$torch_version" "torchvision==$torchvision_version" ||
    die "pip could not install PyTorch; check the network and the package index, then try again"
  touch "$pytorch/whole"
}

command -v cargo >/dev/null || die "Rust is missing. Install it from https://rustup.rs"
command -v cc >/dev/null && command -v c++ >/dev/null || need_packages "a C and C++ compiler" gcc g++ libc6-dev
have_postgres || need_packages "PostgreSQL" postgresql
[ "${1:-}" != chaos ] || have_faketime || need_packages "libfaketime, which sets the clocks of workers" libfaketime
mkdir -p "$cache" .deps
if [ -n "${LIBTORCH:-}" ] || [ -n "${LIBTORCH_USE_PYTORCH:-}" ]; then
  say "using the libtorch that the environment names"
else
  if [ ! -e "$libtorch/torch/build-version" ]; then
    command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 || need_packages "Python's pip" python3 python3-pip
    install_libtorch
  fi
  ln -sfn "$libtorch" .deps/libtorch
fi
if [ "${1:-}" = bench-train ]; then
  [ -e "$pytorch/whole" ] || install_pytorch
  ln -sfn "$pytorch" .deps/pytorch
fi
say "ready"
