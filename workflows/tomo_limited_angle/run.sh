#!/usr/bin/env bash
# Claim: a network trained on simulated discs alone finds the holes of measured ones from 30 to 90 degrees of views, and
# is better than filtered back projection and total variation.
# Usage: run.sh tiny|cpu|full [folder] [challenge]
# challenge: folder of the Helsinki Tomography Challenge 2022 (doi.org/10.5281/zenodo.8041800), with its folders training
# and test_a, whose files keep their names. Without it, only simulated discs are tested.
# Writes metrics.json and report.html of simulated discs to the folder, and those of measured ones to the folders
# a-LENGTH and t-LENGTH; exit code 1 if a bound of expected.json is missed. The same command resumes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
size=${1:-}
case $size in
  tiny) samples=600 tests=20 tuned=8 epochs=4 pixels=64 network=(model.patch=2 model.widening=1,2,4) ;;
  cpu) samples=20000 tests=20 tuned=4 epochs=1 pixels=256 network=(model.patch=4 model.widening=1,4,4,4) ;;
  full) samples=100000 tests=500 tuned=32 epochs=20 pixels=256 network=(model.patch=4 model.width=64 model.widening=1,2,4,4 model.blocks=2) ;;
  *) echo "usage: $0 tiny|cpu|full [folder] [challenge]" >&2; exit 2 ;;
esac
out=${2:-runs/tomo_limited_angle-$size}
challenge=${3:-}
discs=(--task tomo --recipe htc --set image_size="$pixels")
[ "$size" != tiny ] || discs+=(rays.detectors=140 rays.source_distance=346.1) # the same scanner, four times coarser
lengths=(90 80 70 60 50 40 30)

# methods DATA PLACE [TUNING] inverts a dataset by the network and by classical methods. These are tuned on the validation
# samples of the dataset, or have the settings of the predictions in the folder TUNING.
methods() {
  local data=$1 place=$2 tuning=${3:-}
  infer --model "$out/unet" --data "$data" --name unet --out "$place/unet.zarr"
  for method in fbp sirt tv; do
    if [ -z "$tuning" ]; then set -- --tune-by mask.mcc; else set -- --tune-on "$tuning/$method.zarr"; fi
    infer --method $method --data "$data" --out "$place/$method.zarr" "$@"
  done
}

generate "${discs[@]}" --n "$samples" --validation "$tuned" --test "$tests" --out "$out/discs.zarr"
train --data "$out/discs.zarr" --model unet --epochs "$epochs" --batch-size 16 --out "$out/unet" \
  --set "${network[@]}" loss.cross_entropy=1 loss.relative=0.1 augment=false scalars=measured_range
methods "$out/discs.zarr" "$out/simulated"
evaluate --data "$out/discs.zarr" --predictions "$out"/simulated/*.zarr --out "$out" --expect "$here/expected.json:$size"
[ -n "$challenge" ] || exit 0

# measured NAME FILES-AND-SETTINGS imports sinograms with their official masks, and inverts them. In the dataset each
# disc is turned so that its first view lies at angle 0, as in the simulated ones.
measured() {
  local name=$1; shift
  dataset import --task tomo --from "$@" center=279.5 pixel="$((512 / pixels))" image_size="$pixels" turn=start \
    --out "$out/$name.zarr"
  methods "$out/$name.zarr" "$out/$name" "$out/simulated"
  evaluate --data "$out/$name.zarr" --predictions "$out/$name"/*.zarr --out "$out/$name"
}
training=("$challenge"/training/htc2022_t[a-d]_full.mat)
masks=()
for disc in ta tb tc td; do masks+=(mask="$challenge/training/htc2022_${disc}_full_recon_fbp_seg.mat"); done
for level in 1 2 3 4 5 6 7; do
  length=${lengths[level - 1]} disc=$challenge/test_a/htc2022_0${level}a
  measured "a-$length" "${disc}_limited.mat" mask="${disc}_recon_fbp_seg.mat" --set log=taken
  measured "t-$length" "${training[@]}" "${masks[@]}" --set log=taken range="0:$length" ranges=12
done
python "$here/table.py" "$out" "$challenge" | tee "$out/measured.txt"
