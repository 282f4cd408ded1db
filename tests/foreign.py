"""Files of images as other libraries write them."""

import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import scipy.io
import tifffile
from rsciio.emd import file_writer as write_emd

from tests import digital_micrograph

SERIES = np.random.default_rng(1).uniform(0.5, 1.5, (3, 20, 31)).astype(np.float32)  # neither square nor even
PIXEL = 2.34  # nm
DEFOCUS = "defocus=-8000,0,8000"
ALL = ("--set", DEFOCUS, "voltage=300e3", f"sampling={PIXEL}")
UNSAID = ("--set", DEFOCUS, "voltage=300e3")

type Write = Callable[[str, np.ndarray], None]


def tiff_imagej(path: str, values: np.ndarray) -> None:
    tifffile.imwrite(path, values, imagej=True, resolution=(1e3 / PIXEL,) * 2, metadata={"unit": "um"})


def tiff_ome(path: str, values: np.ndarray) -> None:
    axes = "ZYX"[-values.ndim :]
    metadata = {"axes": axes, "PhysicalSizeX": PIXEL, "PhysicalSizeY": PIXEL}
    metadata |= {"PhysicalSizeXUnit": "nm", "PhysicalSizeYUnit": "nm"}
    tifffile.imwrite(path, values, ome=True, metadata=metadata)


def tiff_tags(path: str, values: np.ndarray) -> None:
    tifffile.imwrite(
        path,
        values,
        resolution=(1e7 / PIXEL,) * 2,
        resolutionunit="CENTIMETER",
        compression="zlib",
        photometric="minisblack",
    )


def tiff_naive(path: str, values: np.ndarray) -> None:
    """A stack of three without a word: stored as planes of colour."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tifffile.imwrite(path, values)


def mrc(path: str, values: np.ndarray) -> None:
    with mrcfile.new(path) as file:
        file.set_data(values)
        file.voxel_size = 10 * PIXEL


def npy(path: str, values: np.ndarray) -> None:
    np.save(path, values)


def npz(path: str, values: np.ndarray) -> None:
    np.savez_compressed(path, images=values, exposure=np.float32(3))


def hdf5(path: str, values: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data", data=values, compression="gzip")
        file["entry/exposure"] = 3.0


def mat(path: str, values: np.ndarray) -> None:
    scipy.io.savemat(path, {"images": values, "exposure": 3.0}, do_compression=True)


def mat_matlab(path: str, values: np.ndarray) -> None:
    """Images last, as A(:, :, k)."""
    scipy.io.savemat(path, {"images": np.moveaxis(values, 0, -1)})


def mat_73(path: str, values: np.ndarray) -> None:
    """As MATLAB writes A(y, x, plane): HDF5 with all axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["images"] = np.moveaxis(values, 0, -1).T
    with Path(path).open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def dm4(path: str, values: np.ndarray) -> None:
    Path(path).write_bytes(digital_micrograph.image(values, PIXEL / 1e3, "µm", 200e3))


def emd(path: str, values: np.ndarray) -> None:
    axes = [
        {
            "name": name,
            "size": size,
            "scale": scale,
            "offset": 0.0,
            "units": units,
            "index_in_array": index,
            "navigate": False,
        }
        for index, (name, size, scale, units) in enumerate(
            zip(
                "zyx"[-values.ndim :], values.shape, (1.0, PIXEL, PIXEL)[-values.ndim :], ("", "nm", "nm"), strict=False
            )
        )
    ]
    write_emd(
        path,
        {"data": values, "axes": axes, "metadata": {"General": {"title": "a"}, "Signal": {}}, "original_metadata": {}},
    )


def nexus(
    path: str, values: np.ndarray, axes: object, signal: object = "data", link: str = "", where: str = ""
) -> None:
    """Write NXdata with the axes x, y and frame. Signal and axes lie in the detector if a link is used.

    Args:
        path: the file.
        values: the images, with their axes in the order that is stated.
        axes: attribute of the group, or of the dataset.
        signal: attribute of the group.
        link: "soft", "hard" or empty.
        where: "dataset": the axes are stated there.
    """
    with h5py.File(path, "w") as file:
        data, detector = file.create_group("entry/data"), file.create_group("entry/detector")
        holder = detector if link else data
        holder["data"] = values
        for name, unit, step in (("x", "nm", 2.0), ("y", "um", 0.001)):
            holder[name] = np.arange(50) * step
            holder[name].attrs["units"] = np.bytes_(unit)
        for name in ("data", "x", "y") if link else ():
            data[name] = h5py.SoftLink(f"/entry/detector/{name}") if link == "soft" else detector[name]
        data.attrs.update({"NX_class": np.bytes_("NXdata"), "signal": signal})
        (holder["data"] if where == "dataset" else data).attrs["axes"] = axes


STATING: dict[str, Write] = {
    "imagej.tif": tiff_imagej,
    "ome.ome.tif": tiff_ome,
    "tags.tiff": tiff_tags,
    "a.mrc": mrc,
    "a.dm4": dm4,
    "a.emd": emd,
}
SILENT: dict[str, Write] = {
    "naive.tif": tiff_naive,
    "a.npy": npy,
    "a.npz": npz,
    "a.h5": hdf5,
    "python.mat": mat,
    "matlab.mat": mat_matlab,
    "matlab73.mat": mat_73,
}
WRITERS = STATING | SILENT
APART = ("a.emd", "a.h5", "matlab73.mat")  # HDF5: each is read in a process of its own
