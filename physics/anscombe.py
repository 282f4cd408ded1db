"""Transform that makes the noise of counted electrons nearly independent of the signal, and its inverse.

    z = p + g,   p ~ Poisson(n),   g ~ Normal(0, s^2)
    f(z) = 2 sqrt(z + 3/8 + s^2)

f has a standard deviation near 1 for n > 4 or so. A filter that averages f estimates D = E[f(z)], not f(n): the inverse
must map E[f(z)] to n, or the result is too dark (Makitalo and Foi, IEEE Trans. Image Process. 20 (2011) 2697; with g:
22 (2013) 91). Only `+ * / **` and maxima of NumPy; arrays of any shape.
"""

import numpy as np

from physics.arrays import Array, Real


def stabilise(counts: Array, read_noise: float = 0.0) -> Real:
    """Generalised Anscombe transform of counts: f(z) = 2 sqrt(z + 3/8 + s^2), 0 where the root is not real.

    Args:
        counts: z [electron].
        read_noise: s [electron], the standard deviation of g.

    Returns:
        f(z), of the shape of `counts`, float64.
    """
    root: Real = 2 * np.sqrt(np.maximum(np.asarray(counts, float) + 3 / 8 + read_noise**2, 0))
    return root


def restore(stable: Array, read_noise: float = 0.0) -> Real:
    """Expected counts n that belong to the mean D of f, by the closed form of the exact unbiased inverse.

        n = D^2 / 4 + sqrt(3/2) / (4 D) - 11 / (8 D^2) + 5 sqrt(3/2) / (8 D^3) - 1/8 - s^2,   or 0 if this is negative

    The form is wrong by 0.02 electrons at most, with g by 0.05. 0 electrons have D = 2 sqrt(3/8), the lower limit of D.

    Args:
        stable: D [1].
        read_noise: s [electron].

    Returns:
        n [electron], of the shape of `stable`, float64.
    """
    d = np.maximum(np.asarray(stable, float), 2 * (3 / 8) ** 0.5)
    root = 1.5**0.5
    n: Real = d**2 / 4 + root / (4 * d) - 11 / (8 * d**2) + 5 * root / (8 * d**3) - 1 / 8 - read_noise**2
    return n.clip(0)
