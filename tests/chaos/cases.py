"""Commands that `tests.chaos` disturbs, with what is there before and what runs meanwhile."""

ROOMS = {"generate": ["generators"], "infer": ["inference", "infer"], "dataset": ["schemas"]}
SMALL = "--set image_size=32 supersampling=1 --shard-samples 8 --workers 2 --validation 0 --test 80 --out x.zarr"
SCAN = "--set scan.rows=10 scan.columns=10 scan.scans=4 scan.step=0.04 pattern=16 probe.semi_angle=0.05"
INPUTS = (
    f"generate --task tie --n 300 {SMALL}",
    f"generate --task stem4d --recipe hbn_scan --n 0 --validation 0 --test 400 {SCAN} --shard-samples 16 --out s.zarr",
)
COMMANDS = {
    "plain": f"generate --task tie --n 700 {SMALL}",
    "larger": f"generate --task tie --n 900 {SMALL}",
    "other seed": f"generate --task tie --n 700 --seed 5 {SMALL}",
    "smaller": f"generate --task tie --n 250 --seed 7 {SMALL}",
    "misell": "infer --method misell --set iterations=300 --data ../inputs/x.zarr --out p.zarr",
    "tie": "infer --method tie --set cutoff=0 floor=0.001 offset=annulus --data ../inputs/x.zarr --out p.zarr",
    "epie": "infer --method epie --set sweeps=10 --data ../inputs/s.zarr --out q.zarr --stitch i.zarr",
    "idpc": "infer --method idpc --data ../inputs/s.zarr --out q.zarr --stitch i.zarr",
    "tiff": "dataset export ../inputs/x.zarr --format tiff --split train --samples 0:100 --out e",
}
OVERWRITE = " --overwrite"
CASES = {  # what is there, the command that is disturbed, and the one that runs meanwhile
    "generate": (("", "plain", "plain"),),
    "extend": (("", "plain", "larger"), ("plain", "larger", "larger")),
    "overwrite": (("", "plain", "other seed" + OVERWRITE), ("plain", "other seed" + OVERWRITE, "plain")),
    "shrink": (("", "plain", "smaller" + OVERWRITE), ("plain", "smaller" + OVERWRITE, "plain")),
    "infer": (("", "misell", "tie" + OVERWRITE), ("tie", "misell" + OVERWRITE, "tie")),
    "export": (("", "tiff", "tiff"),),
    "stitch": (("", "epie", "idpc" + OVERWRITE), ("idpc", "epie" + OVERWRITE, "idpc")),
}
