#!/usr/bin/env bash
# Refuses dependencies whose licence deny.toml does not allow. With cargo-deny and its advisory database at hand, known
# vulnerabilities are refused as well.
set -euo pipefail
cd "$(dirname "$0")/.."
python3 - <<'PY'
import json, re, subprocess, sys, tomllib
allowed = set(tomllib.load(open("deny.toml", "rb"))["licenses"]["allow"])
metadata = json.loads(subprocess.check_output(["cargo", "metadata", "--format-version", "1", "--locked"]))
def fits(expression):
    """Whether some choice of the alternatives is allowed altogether."""
    words = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    python = " ".join({"OR": "or", "AND": "and", "(": "(", ")": ")"}.get(w, "" if w == "WITH" else repr(w in allowed)) for w in words)
    python = re.sub(r"(True|False)\s+(True|False)", r"(\1 or \2)", python) # LICENCE WITH EXCEPTION: the licence decides
    return eval(python)
bad = [(p["name"], p["version"], p["license"]) for p in metadata["packages"] if not (p["license"] and fits(p["license"]))]
for name, version, licence in bad:
    print(f"licences: {name} {version} is under {licence}, which deny.toml does not allow", file=sys.stderr)
print(f"licences: {len(metadata['packages'])} packages looked at")
sys.exit(bool(bad))
PY
if command -v cargo-deny >/dev/null && cargo deny fetch db >/dev/null 2>&1; then
  cargo deny check advisories
fi
