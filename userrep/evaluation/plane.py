"""The plane: vectors of many dimensions laid out in two, to be looked at."""

import numpy as np

from userrep.errors import UsageError

NEIGHBOURS = 15


def pca(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lay `(N, W)` out along their two principal components: places `(N, 2)`, shares of the variance `(2,)`.

    The largest entry of a component is positive, so that a picture is not mirrored from one machine to another.
    """
    centred = vectors - vectors.mean(axis=0)
    _, values, components = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    values, components = _two(values), _two(components)
    largest = np.abs(components).argmax(axis=1)
    signs = np.where(components[[0, 1], largest] < 0, -1.0, 1.0)
    total = np.square(centred, dtype=np.float64).sum()
    return centred @ (components.T * signs), np.square(values) / (total or 1.0)


def _two(parts: np.ndarray) -> np.ndarray:
    """Return the first two rows, zeros where there is one."""
    return np.concatenate([parts, np.zeros_like(parts[:1])])[:2]


def check_umap() -> None:
    """Raise UsageError where umap-learn, an extra, is missing."""
    from importlib.util import find_spec

    if find_spec("umap") is None:
        raise UsageError("--projection umap needs umap-learn", "pip install 'userrep[umap]', or take pca")


def umap(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Lay `(N, W)` out by UMAP (McInnes, Healy and Melville, 2018), begun from the principal components: `(N, 2)`."""
    from umap import UMAP

    neighbours = min(NEIGHBOURS, len(vectors) - 1)
    made = UMAP(n_neighbors=neighbours, init="pca", random_state=seed, n_jobs=1)  # one thread, or the seed says little
    return np.asarray(made.fit_transform(vectors), dtype=np.float64)
