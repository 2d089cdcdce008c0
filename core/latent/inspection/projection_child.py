"""The process that computes a t-SNE, so that it can be stopped and ends in time: scikit-learn's own cannot be.

`python -m core.latent.inspection.projection_child POINTS.npy FOUND.npy DIMENSIONS PERPLEXITY SEED ITERATIONS`;
on stdout, scikit-learn's lines say how far it is.
"""

from __future__ import annotations

import os
import sys

import numpy as np

POLITE = 5  # of Unix' niceness: what people look at comes first


def main(points: str, found: str, *numbers: str) -> None:
    """Read the points (N, D), leave their places (N, dimensions)."""
    from sklearn.manifold import TSNE

    dimensions, perplexity, seed, iterations = numbers
    method = TSNE(
        n_components=int(dimensions),
        perplexity=float(perplexity),
        init="pca",
        random_state=int(seed),
        max_iter=int(iterations),
        n_jobs=1,
        verbose=2,
    )
    np.save(found, method.fit_transform(np.load(points, allow_pickle=False)).astype(np.float32), allow_pickle=False)


if __name__ == "__main__":
    os.nice(POLITE)
    main(*sys.argv[1:])
