#!/usr/bin/env bash
# Claim: from few noisy views, networks reconstruct images better than filtered back projection, and one with the
# projections inside better than total variation. From the noise-free, complete sinograms of superres-tomo, conjugate
# gradients reconstruct better than its networks. A network reads the kind of the holes of a disc, and the centre of
# rotation, from the sinogram.
# Usage: run.sh tiny|cpu|full [folder]
# Writes metrics.json and report.html to the folder; those of the data of superres-tomo to `published`, those of kind and
# centre to `section_kind` and `axis_offset`; exit code 1 if a bound of an expected*.json is missed. The same command
# resumes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
size=${1:-}
rate=(optimizer.learning_rate=3e-4)
case $size in
  tiny) few=600 complete=300 named=200 tests=40 unet=6 lpd=2 alexnet=1 grid=(image_size=32 rays.views=32) iterations=2
    seed=(--epochs 2 --batch-size 16 --set optimizer.learning_rate=1e-3) ;;
  cpu) few=3000 complete=2000 named=5000 tests=200 unet=6 lpd=3 alexnet=6 grid=(image_size=32 rays.views=32) iterations=4
    seed=(--epochs 8 --set optimizer.learning_rate=1e-3) ;;
  full) few=50000 complete=9000 named=20000 tests=1000 unet=30 lpd=10 alexnet=30 grid=(image_size=64) iterations=8 seed=() ;;
  *) echo "usage: $0 tiny|cpu|full [folder]" >&2; exit 2 ;;
esac
out=${2:-runs/tomo_reconstruction-$size}
counts=(--validation "$tests" --test "$tests")

generate --task tomo --n "$complete" "${counts[@]}" --recipe published --set "${grid[@]}" --out "$out/published.zarr"
for network in automap dense_reconstruct cnn_reconstruct; do
  train --data "$out/published.zarr" --recipe published --model $network --out "$out/published/$network" "${seed[@]}"
  infer --model "$out/published/$network" --data "$out/published.zarr" --out "$out/published/$network.zarr"
done
for method in mean fbp sirt cgls; do
  infer --method $method --data "$out/published.zarr" --out "$out/published/$method.zarr"
done
evaluate --data "$out/published.zarr" --predictions "$out"/published/*.zarr --out "$out/published" \
  --expect "$here/expected-published.json:$size"

# Discs whose holes are round, cells, or slits, on a detector that the axis of rotation does not meet in the middle.
generate --task tomo --n "$named" "${counts[@]}" --out "$out/discs.zarr" --set "${grid[@]}" measured.every=1 \
  perforated.several=0 perforated.weights=1,0,0,1,0,0,1 rays.axis_offset=-4:4 transmission.photons=1e4
for target in section_kind axis_offset; do
  train --data "$out/discs.zarr" --model alexnet --input sinogram --target $target --epochs "$alexnet" \
    --out "$out/$target/alexnet" --set model.padding=same augment=false "${rate[@]}"
  infer --model "$out/$target/alexnet" --data "$out/discs.zarr" --out "$out/$target/alexnet.zarr"
  evaluate --data "$out/discs.zarr" --predictions "$out/$target/alexnet.zarr" --out "$out/$target" \
    --expect "$here/expected-$target.json:$size"
done

[ "$size" != cpu ] || grid=(image_size=64)
generate --task tomo --n "$few" "${counts[@]}" --set "${grid[@]}" --out "$out/few.zarr"
train --data "$out/few.zarr" --model unet --epochs "$unet" --out "$out/unet"
train --data "$out/few.zarr" --model lpd --epochs "$lpd" --batch-size 16 --out "$out/lpd" --set model.iterations="$iterations"
for network in unet lpd; do
  infer --model "$out/$network" --data "$out/few.zarr" --name $network --out "$out/predictions/$network.zarr"
done
for method in fbp sirt tv; do
  infer --method $method --data "$out/few.zarr" --out "$out/predictions/$method.zarr"
done
evaluate --data "$out/few.zarr" --predictions "$out"/predictions/*.zarr --out "$out" --expect "$here/expected.json:$size"
