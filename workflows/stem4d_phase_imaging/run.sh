#!/usr/bin/env bash
# Claim: a network trained on textures alone images twisted boron nitride from a 4D-STEM scan: pattern by pattern, then
# stitched, its image is nearly as close to the object as that of ptychography, which needs all patterns at once.
# usage: run.sh tiny|cpu|full [folder] [probe.npy]     leaves metrics.json and report.html there, those against dose and
# against overlap in folders of their own; 1 if expected.json is missed. The same command resumes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
size=${1:-}
dense=(--model mlp --batch-size 256 --set loss.l1=0 loss.mse=1 model.activations=relu model.initialisation=random)
case $size in
  tiny) counts=(--n 10000 --validation 200 --test 0) epochs=8 hidden=256 scan=24 series=12 scans=2 ;;
  cpu) counts=(--n 160000 --validation 4000 --test 0) epochs=8 hidden=1024,1024,1024 scan=256 series=32 scans=6 ;;
  full) counts=(--n 1000000 --validation 10000 --test 0) epochs=50 hidden=2048,2048,2048 scan=256 series=64 scans=12 ;;
  *) echo "usage: $0 tiny|cpu|full [folder] [probe.npy]" >&2; exit 2 ;;
esac
out=${2:-runs/stem4d_phase_imaging-$size}
probe=(probe.semi_angle=0.0346)
[ $# -lt 3 ] || probe=(probe.path="$3")

generate --task stem4d "${counts[@]}" --out "$out/textures.zarr" --set "${probe[@]}" dose=1e3:1e6 object.range=0:0.8 texture.flatten=0.5
train --data "$out/textures.zarr" --epochs "$epochs" --out "$out/network" "${dense[@]}" model.hidden="$hidden"

# scan NAME ROWS SCANS KNOB...: simulated, inverted by each method, stitched, compared with its object
scan() {
  local name=$1 rows=$2 scans=$3; shift 3
  local data=$out/$name.zarr
  generate --task stem4d --recipe hbn_scan --n 0 --validation 0 --test $((rows * rows * scans)) --out "$data" \
    --set "${probe[@]}" scan.rows="$rows" scan.columns="$rows" scan.scans="$scans" "$@"
  infer --model "$out/network" --data "$data" --name network --out "$out/$name-network.zarr"
  for method in epie rpie idpc; do
    infer --method "$method" --data "$data" --out "$out/$name-$method.zarr"
  done
}
scan hbn "$scan" 1
scan dose "$series" "$scans" scan.fluence=1e6:1e9
scan overlap "$series" "$scans" scan.step=0.0124:0.0992
for name in dose overlap; do
  evaluate --data "$out/$name.zarr" --predictions "$out/$name"-{network,epie,rpie,idpc}.zarr --out "$out/$name"
done
evaluate --data "$out/hbn.zarr" --predictions "$out"/hbn-{network,epie,rpie,idpc}.zarr \
  --out "$out" --expect "$here/expected.json:$size"
