"""Import Dask in the process from which local workers are forked, without the files of settings of the user.

These are made for other programs, and may be damaged. Workers get their settings from the client.
"""

import os

with_settings = dict(os.environ)
os.environ["HOME"] = os.devnull  # the place of ~/.config/dask
os.environ.pop("DASK_CONFIG", None)
import distributed  # noqa: E402, F401

os.environ.update(with_settings)
