#!/bin/sh
# Packs a stripped worker with a script that runs it on a machine whose python3 has torch 2.11 with CUDA: its libraries
# are taken from there. The archive is target/gpu-bundle.tar.gz.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --workspace --bins
bundle=target/gpu-bundle
rm -rf "$bundle"
mkdir -p "$bundle"
cp "${CARGO_TARGET_DIR:-target}/release/gpu-worker" "$bundle/gpu-worker"
strip "$bundle/gpu-worker"
cat > "$bundle/run.sh" <<'RUN'
#!/bin/sh
# Runs the worker on the libtorch of this machine's python3.
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
libraries="$(python3 -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "lib"))')"
LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$here/gpu-worker" "$@"
RUN
chmod +x "$bundle/run.sh"
tar -C target -czf target/gpu-bundle.tar.gz gpu-bundle
ls -l target/gpu-bundle.tar.gz
