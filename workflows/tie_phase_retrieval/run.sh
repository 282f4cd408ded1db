#!/usr/bin/env bash
# Claim: on the published recipe of phase-ret-dl, the phase by a U-Net is several times nearer to the truth than that by
# the tuned TIE.
# Usage: run.sh tiny|cpu|full [folder]
# Writes metrics.json and report.html to the folder; exit code 1 if a bound of expected.json is missed. The same command
# resumes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
size=${1:-}
case $size in
  tiny) samples=1500 epochs=3 options=() ;;
  cpu) samples=5000 epochs=16 options=() ;;
  full) samples=50000 epochs=60 options=(--batch-size 64 --set model.width=64 model.widening=1,2,3,4 ema=0.999) ;;
  *) echo "usage: $0 tiny|cpu|full [folder]" >&2; exit 2 ;;
esac
out=${2:-runs/tie_phase_retrieval-$size}
data=$out/tie.zarr

generate --task tie --recipe published --n "$samples" --validation 500 --test 500 --out "$data"
train --data "$data" --model unet --epochs "$epochs" --out "$out/unet" "${options[@]}"
infer --model "$out/unet" --data "$data" --out "$out/unet.zarr"
infer --method tie --data "$data" --out "$out/tie-method.zarr"
infer --method tie_registered --data "$data" --out "$out/tie-registered.zarr"
infer --method misell --data "$data" --out "$out/misell.zarr"
infer --method single_material --data "$data" --out "$out/single-material.zarr"
infer --method absorption --data "$data" --out "$out/absorption.zarr"
evaluate --data "$data" --predictions "$out/tie-method.zarr" "$out/tie-registered.zarr" "$out/misell.zarr" \
  "$out/single-material.zarr" "$out/absorption.zarr" "$out/unet.zarr" \
  --out "$out" --expect "$here/expected.json:$size"
