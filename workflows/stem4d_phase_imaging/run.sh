#!/usr/bin/env bash
# Claim: a network trained on textures alone images twisted boron nitride from a 4D-STEM scan. It inverts pattern by
# pattern; the stitched image correlates with the object nearly as well as that of ptychography, which needs all patterns
# at once and whose settings are tuned on scans of the same fluence.
# Usage: run.sh tiny|cpu|full [folder] [probe.npy]
# Writes metrics.json and report.html to the folder, and those against dose and against overlap to sub-folders; exit code
# 1 if a bound of expected.json is missed. The same command resumes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
size=${1:-}
dense=(--model mlp --batch-size 256 --set loss.l1=0 loss.mse=1 model.activations=relu model.initialisation=random)
engines=(epie rpie)
grid=("alpha=0.03 sweeps=5" "alpha=0.03 sweeps=30" "alpha=0.1 sweeps=30" "alpha=0.3 sweeps=30" "alpha=1 sweeps=30")
case $size in
  tiny) counts=(--n 10000 --validation 200 --test 0) epochs=8 hidden=256 scan=24 series=12 scans=2
    engines=(epie) grid=("alpha=0.03 sweeps=5" "alpha=0.3 sweeps=30") ;;
  cpu) counts=(--n 160000 --validation 4000 --test 0) epochs=8 hidden=1024,1024,1024 scan=256 series=32 scans=6 ;;
  full) counts=(--n 1000000 --validation 10000 --test 0) epochs=50 hidden=2048,2048,2048 scan=256 series=64 scans=12 ;;
  *) echo "usage: $0 tiny|cpu|full [folder] [probe.npy]" >&2; exit 2 ;;
esac
out=${2:-runs/stem4d_phase_imaging-$size}
probe=(probe.semi_angle=0.0346)
[ $# -lt 3 ] || probe=(probe.path="$3")

generate --task stem4d "${counts[@]}" --out "$out/textures.zarr" --set "${probe[@]}" dose=1e3:1e6 object.range=0:0.8 texture.flatten=0.5
train --data "$out/textures.zarr" --epochs "$epochs" --out "$out/network" "${dense[@]}" model.hidden="$hidden"

# simulate SEED STORE ROWS SCANS SETTING...
simulate() {
  local seed=$1 store=$2 rows=$3 scans=$4; shift 4
  generate --task stem4d --recipe hbn_scan --seed "$seed" --n 0 --validation 0 --test $((rows * rows * scans)) \
    --out "$store" --set "${probe[@]}" scan.rows="$rows" scan.columns="$rows" scan.scans="$scans" "$@"
}

# scan NAME ROWS SCANS SETTING... simulates scans and inverts them by each method. ePIE and rPIE are tuned on scans of
# another seed, chosen so that its fluences and steps equal those of seed 0 within 3 %. `made` lists the predictions.
scan() {
  local name=$1 rows=$2 scans=$3; shift 3
  local data=$out/$name.zarr tuning=$out/$name-tuning method settings label chosen
  simulate 0 "$data" "$rows" "$scans" "$@"
  simulate 2211 "$tuning.zarr" "$series" "$scans" "$@"
  infer --model "$out/network" --data "$data" --name network --out "$out/$name-network.zarr"
  infer --method idpc --data "$data" --out "$out/$name-idpc.zarr"
  made=("$out/$name-network.zarr" "$out/$name-idpc.zarr")
  for method in "${engines[@]}"; do
    for settings in "${grid[@]}"; do # shellcheck disable=SC2086
      infer --method "$method" --data "$tuning.zarr" --set $settings --out "$tuning/$method/$settings.zarr" \
        --stitch "$tuning/$method/$settings-image.zarr"
    done
    chosen=$(python "$here/tuned.py" runs "$method" "$tuning")
    while IFS=$'\t' read -r label settings; do # shellcheck disable=SC2086
      infer --method "$method" --data "$data" --set $settings --name "$label" --out "$out/$name-$label.zarr" < /dev/null
      made+=("$out/$name-$label.zarr")
    done <<< "$chosen"
  done
}
scan dose "$series" "$scans" scan.fluence=1e6:1e9
evaluate --data "$out/dose.zarr" --predictions "${made[@]}" --out "$out/dose"
scan overlap "$series" "$scans" scan.step=0.0124:0.0992
evaluate --data "$out/overlap.zarr" --predictions "${made[@]}" --out "$out/overlap"
for name in dose overlap; do
  python "$here/tuned.py" table "$out/$name/metrics.json" "$out/$name-tuning" "${engines[@]}" | tee "$out/$name/tuned.txt"
done
scan hbn "$scan" 1
evaluate --data "$out/hbn.zarr" --predictions "${made[@]}" --out "$out" --expect "$here/expected.json:$size"
