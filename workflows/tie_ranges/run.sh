#!/usr/bin/env bash
# Claim: a network trained on one material reads the thickness from the absorption, and is wrong on any other material; a
# network trained on a range of materials is not. The report says which method is best for each noise, defocus and size.
# Usage: run.sh tiny|cpu|full [folder]
# Writes metrics.json and report.html to the folder; exit code 1 if a bound of expected.json is missed. The same command
# resumes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
size=${1:-}
case $size in
  tiny) samples=600 epochs=4 validation=100 tests=100 grid=(image_size=32 supersampling=2) options=() ;;
  cpu) samples=5000 epochs=8 validation=200 tests=500 grid=() options=() ;;
  full) samples=50000 epochs=40 validation=500 tests=2000 grid=() options=(--batch-size 64 --set model.width=64 model.widening=1,2,3,4) ;;
  *) echo "usage: $0 tiny|cpu|full [folder]" >&2; exit 2 ;;
esac
out=${2:-runs/tie_ranges-$size}
ranges=(defocus=2000:12000 noise=0:0.1 "${grid[@]}")
one=(potential=17 absorption=1)

generate --task tie --n "$samples" --validation "$validation" --test "$tests" --out "$out/range.zarr" --set "${ranges[@]}"
generate --task tie --n "$samples" --validation "$validation" --test "$tests" --out "$out/one.zarr" --set "${ranges[@]}" "${one[@]}"
for data in range one; do
  train --data "$out/$data.zarr" --model unet --epochs "$epochs" --out "$out/unet-$data" "${options[@]}"
done
for data in range one; do
  for net in range one; do
    infer --model "$out/unet-$net" --data "$out/$data.zarr" --out "$out/on-$data/unet-$net.zarr"
  done
  for method in tie_registered misell single_material; do
    infer --method $method --data "$out/$data.zarr" --out "$out/on-$data/$method.zarr"
  done
done
evaluate --data "$out/one.zarr" --predictions "$out"/on-one/*.zarr --out "$out/on-one-material"
evaluate --data "$out/range.zarr" --predictions "$out"/on-range/*.zarr --out "$out" --expect "$here/expected.json:$size"
