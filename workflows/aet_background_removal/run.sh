#!/usr/bin/env bash
# Claim: a DnCNN removes the smooth background from images of a nanoparticle far better than classical methods, also
# from particles and backgrounds that it never saw, and does not hollow the edge of the particle.
# Usage: run.sh tiny|cpu|full [folder]
# Writes metrics.json and report.html to the folder, those of the other particle and background to `unseen`; exit code 1
# if a bound of an expected*.json is missed. The same command resumes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
size=${1:-}
train=(--recipe published)
case $size in
  tiny) images=12 validation=4 unseen=4 grid=(image_size=80 sampling=0.08 cluster.diameter=4 signal_unit=0.001)
    train+=(--epochs 2 --batch-size 8 --set model.width=16 model.depth=4 steps_per_epoch=40) ;;
  cpu) images=162 validation=18 unseen=12 grid=(image_size=256)
    train+=(--epochs 8 --batch-size 16 --set crop=64 schedule.name=cosine steps_per_epoch=200) ;;
  full) images=162 validation=18 unseen=36 grid=(image_size=256)
    train+=(--epochs 46 --batch-size 24 --set crop=96 schedule.name=cosine steps_per_epoch=250 evaluate_every=3
      precision=bfloat16) ;;
  *) echo "usage: $0 tiny|cpu|full [folder]" >&2; exit 2 ;;
esac
out=${2:-runs/aet_background_removal-$size}
methods=(constant rolling_ball inpaint highpass)

# The problem of the tutorial: images of one particle on a smooth background. It has no test images: validation images
# are scored, as there.
generate --task aet --recipe published --n "$images" --validation "$validation" --test 0 --set "${grid[@]}" \
  --out "$out/published.zarr"
train --data "$out/published.zarr" --out "$out/dncnn" "${train[@]}"
infer --model "$out/dncnn" --data "$out/published.zarr" --split validation --out "$out/predictions/dncnn.zarr"
for method in "${methods[@]}"; do
  infer --method "$method" --data "$out/published.zarr" --split validation --out "$out/predictions/$method.zarr"
done
evaluate --data "$out/published.zarr" --predictions "$out"/predictions/*.zarr --out "$out" --data-range 255 \
  --expect "$here/expected.json:$size"

# Particles and backgrounds that the network never saw: each image shows another particle, and the background has parts
# of other families.
generate --task aet --recipe published --n 0 --validation "$unseen" --test "$unseen" --seed 1 --out "$out/unseen.zarr" \
  --set "${grid[@]}" particle=none cluster.kinds=icosahedron,decahedron,sphere background.height=0:1 \
  background.pedestal=0.2:0.5 background.slope=0.2:1 background.tails=0.1:0.3 background.contamination=0:0.5
infer --model "$out/dncnn" --data "$out/unseen.zarr" --out "$out/unseen/dncnn.zarr"
for method in "${methods[@]}"; do
  infer --method "$method" --data "$out/unseen.zarr" --out "$out/unseen/$method.zarr"
done
evaluate --data "$out/unseen.zarr" --predictions "$out"/unseen/*.zarr --out "$out/unseen" --data-range 255 \
  --expect "$here/expected-unseen.json:$size"
