"""Files of Velox in the layout that RosettaSciIO reads: images beside a stream of spectra. No library writes them."""

import json
from collections.abc import Mapping

import h5py
import numpy as np

PIXEL = 2.34e-9  # m


def velox(path: str, images: Mapping[str, np.ndarray]) -> None:
    """Write images (y, x) or (y, x, frame) by name, and an empty stream of spectra."""
    with h5py.File(path, "w") as file:
        file["Version"] = [json.dumps({"format": "Velox", "version": "11"})]
        for number, (name, values) in enumerate(images.items()):
            key = f"{number:032x}"
            group = file.create_group(f"Data/Image/{key}")
            group.create_dataset("Data", data=values.reshape(*values.shape[:2], -1), chunks=True)
            group["Metadata"] = _padded(_metadata())
            reference = f"/SharedProperties/ImageSeriesDataReference/{key}"
            file[reference] = [json.dumps({"dataPath": f"/Data/Image/{key}"})]
            file[f"Displays/ImageDisplay/{key}"] = [json.dumps({"id": name, "data": reference})]
        settings = json.dumps({"endFramePosition": 1, "encoding": "uint16"})
        file["Data/SpectrumImage/a/SpectrumImageSettings"] = [settings]
        stream = file.create_group("Data/SpectrumStream/a")
        stream["Data"], stream["Metadata"] = np.zeros((4, 1), np.uint16), _padded(_metadata())


def _metadata() -> dict[str, object]:
    size = {"width": str(PIXEL), "height": str(PIXEL)}
    binary = {
        "DetectorIndex": "0",
        "PixelSize": size,
        "Offset": {"x": "0", "y": "0"},
        "PixelUnitX": "m",
        "PixelUnitY": "m",
    }
    return {
        "BinaryResult": binary,
        "Detectors": {"Detector-0": {"DetectorName": "HAADF"}},
        "Optics": {"AccelerationVoltage": "200000"},
        "Scan": {"FrameTime": "1"},
        "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "0"}},
    }


def _padded(metadata: object) -> np.ndarray:
    return np.frombuffer(json.dumps(metadata).encode().ljust(4000, b"\0"), np.uint8).reshape(-1, 1)
