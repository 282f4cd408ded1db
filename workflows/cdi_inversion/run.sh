#!/usr/bin/env bash
# Claim: a U-Net trained on canonical objects inverts far-field patterns of 32 x 32 pixels with less error than the two
# networks of CDI NN trained on the same patterns, and its patterns are nearer to the measured ones. 50 iterations started
# from it come nearer to the object than 620 iterations from a random start, in an eighth of their time.
# Usage: run.sh tiny|cpu|full [folder]
# Writes metrics.json and report.html to the folder; exit code 1 if a bound of expected.json is missed. The same command
# resumes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
size=${1:-}
case $size in
  tiny) counts=(--n 1000 --validation 64 --test 64) epochs=2 ours=3 small=(--set model.filters=4,8,8) unet=(--set model.width=8) ;;
  cpu) counts=(--n 10000 --validation 1000 --test 500) epochs=10 ours=20 small=() unet=() ;;
  full) counts=(--n 180000 --validation 20000 --test 1000) epochs=10 ours=40 small=() unet=(--set model.width=64) ;;
  *) echo "usage: $0 tiny|cpu|full [folder]" >&2; exit 2 ;;
esac
out=${2:-runs/cdi_inversion-$size}

generate --task cdi --recipe published "${counts[@]}" --out "$out/seed.zarr"
generate --task cdi --recipe published --set canonical=true "${counts[@]}" --out "$out/canonical.zarr"
train --data "$out/seed.zarr" --recipe published --epochs "$epochs" --out "$out/cdinn" "${small[@]}"
train --data "$out/canonical.zarr" --model unet --epochs "$ours" --out "$out/unet" "${unet[@]}"
for net in cdinn unet; do
  infer --model "$out/$net" --data "$out/seed.zarr" --out "$out/$net-predicted.zarr"
  infer --model "$out/$net" --data "$out/seed.zarr" --refine 50 --name "$net+50" --out "$out/$net-refined.zarr"
done
infer --method hio --data "$out/seed.zarr" --out "$out/hio.zarr"
infer --method hio --data "$out/seed.zarr" --set starts=5 threshold=0.1 --name hio-5 --out "$out/hio-5.zarr"
infer --method er --data "$out/seed.zarr" --set threshold=0.1 --out "$out/er.zarr"
infer --model "$out/unet" --data "$out/seed.zarr" --activations "$out/activations.png"
evaluate --data "$out/seed.zarr" --predictions "$out"/{cdinn,unet}-{predicted,refined}.zarr \
  "$out"/{hio,hio-5,er}.zarr --out "$out" --expect "$here/expected.json:$size"
