"""Writes scikit-learn's digits as pictures, a folder for each class: pictures/7/0012.png."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

digits = load_digits()
for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
    folder = Path("pictures", str(label))
    folder.mkdir(parents=True, exist_ok=True)
    # Pixels are from 0 to 16.
    Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8)).save(folder / f"{number:04}.png")
