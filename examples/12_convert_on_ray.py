"""The same conversion on a Ray cluster: many machines, the same bytes.

Run:     python examples/12_convert_on_ray.py
Prints:  local: 60 images in ... shards
         ray:   60 images in ... shards, the same bytes: True
Why:     A shard is the unit of work, so a cluster only has to deal out shards, and a
         job that was killed goes on where it was, on any engine. `RAY_ADDRESS` names a
         cluster; without it one is started here and ended again. All nodes must see
         source and destination.
"""

import hashlib
import tempfile
import warnings
from pathlib import Path

import cv2
import numpy as np

import fiberaug


def make_folder(folder: Path) -> Path:
    """Paint 60 noisy tiles of three classes."""
    rng = np.random.default_rng(0)
    for i in range(60):
        path = folder / "abc"[i % 3] / f"{i:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 256, (96, 128, 3), np.uint8))
    return folder


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
    }


def main() -> None:
    """Convert with processes and on Ray, and compare."""
    warnings.simplefilter("ignore")  # Ray speaks of what will change in its releases
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        src = make_folder(root / "photos")
        found = {}
        for engine in ("local", "ray"):
            manifest = fiberaug.convert(
                src, root / engine, shard_size="100kB", workers=2, engine=engine
            )
            found[engine] = hashes(root / engine)
            same = ", the same bytes: " + str(found["local"] == found[engine])
            print(
                f"{engine + ':':6} {manifest.samples} images in"
                f" {len(manifest.shards)} shards{same if engine == 'ray' else ''}"
            )


if __name__ == "__main__":
    main()
